//! Authorities: `Products.Shop.:8080` and `products.shop` name the same host.

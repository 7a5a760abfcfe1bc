//! Request paths, read one way by every proxy and protocol.

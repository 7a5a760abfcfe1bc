//! Compiles every protocol with protox, so that no `protoc` is needed.

const PROTOCOLS: [&str; 3] = [
    "mixer/v1/mixer.proto",
    "mixer/ca/v1/ca.proto",
    "spiffe/workload.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for file in PROTOCOLS {
        println!("cargo:rerun-if-changed={file}");
    }
    let descriptors = protox::compile(PROTOCOLS, ["."])?;
    tonic_prost_build::configure()
        // Debug output of what carries a private key or a token must not show it.
        .skip_debug([".X509SVID", ".X509SVIDResponse", ".mixer.ca.v1.SignRequest"])
        .compile_fds(descriptors)?;
    Ok(())
}

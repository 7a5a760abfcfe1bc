//! Compiles `mixer/v1/mixer.proto` with protox, so that no `protoc` is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=mixer/v1/mixer.proto");
    let descriptors = protox::compile(["mixer/v1/mixer.proto"], ["."])?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}

//! All of what the messages of `mixer.v1` may say, read at once: the entry of the fuzzer, which has bytes and no server.

use mixer_attributes::Vocabulary;
use mixer_proto::v1;
use prost::Message;

use super::{Arena, Batch, Malformed};

/// Reads `bytes` as a Check and as a Report, as the server does, and everything that the one or the other says. Whether that is
/// well formed is the answer for both; it never panics.
pub fn read(bytes: &[u8]) -> (Result<(), Malformed>, Result<(), Malformed>) {
    let vocabulary = Vocabulary::new();
    let undecodable = |error: prost::DecodeError| Malformed::new("message", error.to_string());
    let check = v1::CheckRequest::decode(bytes)
        .map_err(undecodable)
        .and_then(|request| {
            let arena = Arena::new("attributes", &request.attributes)?;
            let bag = arena.bag("attributes", &vocabulary)?;
            for (_, value) in bag.iter() {
                // Maps and trees are read where they lie.
                let _ = value.to_string();
            }
            Ok(())
        });
    let report = v1::ReportRequest::decode(bytes)
        .map_err(undecodable)
        .and_then(|request| {
            let batch = Batch::new(request, &vocabulary)?;
            let arenas = batch.arenas(batch.records());
            batch.happened(batch.records(), &arenas, &vocabulary);
            batch.aggregates();
            batch.decisions();
            Ok(())
        });
    (check, report)
}

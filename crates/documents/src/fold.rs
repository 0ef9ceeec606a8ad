//! One computation for everybody in a room who waits.

use bytes::Bytes;
use yhub_content::{self as content, StateVector, UpdateError};
use yhub_core::{AnswerMemory, FoldJob, Folded};

use crate::load::merge_shared;

/// Merges base and tail, and cuts the difference for each state vector from the result.
///
/// Updates of the tail that do not pass the guard are left out and named. `Err` iff the base or a state vector cannot be
/// read, which the guard has excluded when they came in.
pub fn fold(job: FoldJob, limits: &content::Limits) -> Result<Folded, UpdateError> {
    let mut parts = vec![job.base];
    let mut bad = Vec::new();
    for (clock, update) in job.tail {
        match content::check_update(&update, limits) {
            Ok(_) => parts.push(update),
            Err(error) => bad.push((clock, error.to_string())),
        }
    }
    let merged = merge_shared(&parts)?;
    // Without a tail it is the base itself, which is counted.
    let base = if merged.as_ptr() == parts[0].as_ptr() { merged } else { job.memory.count(merged) };
    let mut answers = Vec::with_capacity(job.state_vectors.len());
    let mut long_bytes = 0;
    for state_vector in &job.state_vectors {
        let state_vector = StateVector::from_bytes(state_vector)?;
        let answer =
            if state_vector.is_empty() { base.clone() } else { difference(&base, &state_vector, &mut long_bytes, &job.memory)? };
        answers.push(answer);
    }
    let ids = if job.wants_ids { Some(yhub_content::content_ids(&base)?) } else { None };
    Ok(Folded { variant: job.variant, base, upto: job.upto, ids, answers, bad })
}

/// A difference that is longer than this is long.
const LONG_BYTES: usize = 1 << 20;
/// All long ones of a fold together are at most as long as the document, or so long.
const LONG_TOGETHER_BYTES: usize = 8 << 20;

/// What `base` holds beyond `state_vector`. Of long differences there are only as many as `long_bytes` leaves room for: the others are
/// answered with the whole document, which all share, and of which a client takes what it lacks.
fn difference(
    base: &Bytes,
    state_vector: &StateVector,
    long_bytes: &mut usize,
    memory: &AnswerMemory,
) -> Result<Bytes, UpdateError> {
    let difference = yhub_content::diff(base, state_vector)?;
    if difference.len() > LONG_BYTES {
        if *long_bytes + difference.len() > base.len().max(LONG_TOGETHER_BYTES) {
            return Ok(base.clone());
        }
        *long_bytes += difference.len();
    }
    Ok(memory.count(Bytes::from(difference)))
}

#[cfg(test)]
mod tests {
    use yhub_core::{StreamClock, Variant};
    use yhub_testkit::TextWriter;

    use super::*;

    /// Many who lack nearly everything cost no more than about one more document.
    #[test]
    fn long_differences_do_not_add_up() {
        let (mut text, mut state_vectors, mut parts) = (TextWriter::new(7), Vec::new(), Vec::new());
        for _ in 0..20 {
            parts.push(Bytes::from(text.append(&"w".repeat(500_000))));
            let so_far = merge_shared(&parts).unwrap();
            state_vectors.push(Bytes::from(yhub_content::state_vector_of(&so_far).unwrap().to_bytes()));
        }
        let memory = AnswerMemory::default();
        let base = merge_shared(&parts).unwrap();
        let size_bytes = base.len();
        let job = FoldJob {
            variant: Variant::Gc,
            base,
            tail: Vec::new(),
            upto: StreamClock::ZERO,
            state_vectors,
            wants_ids: false,
            memory: memory.clone(),
        };
        let folded = fold(job, &content::Limits::default()).unwrap();
        let whole = folded.answers.iter().filter(|answer| answer.as_ptr() == folded.base.as_ptr()).count();
        assert!((10..20).contains(&whole), "{whole} of 20 are the whole document");
        // Who lacks little is sent little.
        assert!(folded.answers[19].len() < 100 && folded.answers[18].len() < 600_000);
        let bound = size_bytes + 3 * LONG_BYTES;
        assert!(memory.held_bytes() <= bound, "{} bytes for a document of {size_bytes}", memory.held_bytes());
    }
}

//! One computation for everybody in a room who waits.

use bytes::Bytes;
use yhub_content::{self as content, StateVector, UpdateError};
use yhub_core::{FoldJob, Folded};

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
    let base = merge_shared(&parts)?;
    let mut answers = Vec::with_capacity(job.state_vectors.len());
    for state_vector in &job.state_vectors {
        let state_vector = StateVector::from_bytes(state_vector)?;
        let answer = if state_vector.is_empty() { base.clone() } else { Bytes::from(yhub_content::diff(&base, &state_vector)?) };
        answers.push(answer);
    }
    let ids = if job.wants_ids { Some(yhub_content::content_ids(&base)?) } else { None };
    Ok(Folded { variant: job.variant, base, upto: job.upto, ids, answers, bad })
}

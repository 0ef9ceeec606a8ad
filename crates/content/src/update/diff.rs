//! What of an update somebody lacks who has a given state.

use super::UpdateError;
use super::deletes::Deletes;
use super::heal::healed;
use super::reader::Scanner;
use super::structs::SKIP;
use super::write::{Run, Writer};
use crate::StateVector;

/// The part of `update` that is not covered by `known`.
///
/// Per client every struct that ends at or before the clock in `known` is left out, the first one after that is cut
/// there, and all that follow are kept, Skips included. The delete set is copied whole: what was deleted since cannot be
/// told from a state vector. Works on bytes alone, so the result can hold ids that the receiver has.
///
/// # Errors
/// If `update` is damaged.
pub fn diff(update: &[u8], known: &StateVector) -> Result<Vec<u8>, UpdateError> {
    healed(update, |update| write_diff(update, known))
}

fn write_diff(update: &[u8], known: &StateVector) -> Result<Vec<u8>, UpdateError> {
    let mut scanner = Scanner::new(update)?;
    let mut writer = Writer::with_capacity(update.len() + 16);
    let mut run = Run::default();
    while let Some(section) = scanner.next_section()? {
        let from = known.get(section.client);
        let mut running = false;
        while let Some(place) = scanner.next_in_section()? {
            if running {
                run.push(&place);
            } else if place.end > from && place.skim.content() != SKIP {
                if place.clock >= from {
                    writer.begin(section.client, place.clock);
                    run.restart(&place);
                } else {
                    writer.begin(section.client, from);
                    writer.piece(&scanner.view(&place)?, from, place.end)?;
                    run.restart_after(&place);
                }
                running = true;
            }
        }
        if running {
            writer.copy(&run, update);
        }
    }
    let mut deletes = Deletes::default();
    scanner.deletes(|client, start, end| {
        deletes.push(client, start, end);
        Ok(())
    })?;
    Ok(writer.finish(deletes))
}

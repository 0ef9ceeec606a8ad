//! The part of an update that consists of given ids.

use super::UpdateError;
use super::deletes::Deletes;
use super::heal::healed;
use super::ids::read_delete_set;
use super::reader::{Place, Scanner};
use super::structs::SKIP;
use super::write::{Run, Writer};
use crate::{ContentIds, IdRange, Ids};

/// Keeps of `update` exactly the ids in `ids.inserts`, and of its delete set exactly those in `ids.deletes`.
///
/// Structs are cut where the ids want it; between two kept pieces of a client a Skip fills the hole. The result may
/// depend on ids that are not in it: that is intended.
///
/// # Errors
/// If `update` is damaged.
pub fn intersect(update: &[u8], ids: &ContentIds) -> Result<Vec<u8>, UpdateError> {
    healed(update, |update| write_part(update, ids))
}

fn write_part(update: &[u8], ids: &ContentIds) -> Result<Vec<u8>, UpdateError> {
    let mut scanner = Scanner::new(update)?;
    let mut part = Part { update, writer: Writer::with_capacity(256), run: Run::default(), running: false };
    while let Some(section) = scanner.next_section()? {
        let wanted = ids.inserts.ranges(section.client);
        let mut at = wanted.partition_point(|range| range.end() <= section.clock);
        let mut begun = false;
        while let Some(place) = scanner.next_in_section()? {
            if place.skim.content() == SKIP {
                continue;
            }
            while let Some(range) = wanted.get(at)
                && range.clock() < place.end
            {
                if range.end() > place.clock {
                    if !begun {
                        part.writer.begin(section.client, range.clock().max(place.clock));
                        begun = true;
                    }
                    part.keep(&scanner, &place, *range)?;
                }
                if range.end() > place.end {
                    break;
                }
                at += 1;
            }
        }
        part.flush();
    }
    let mut deletes = Deletes::default();
    let kept = read_delete_set(scanner.rest())?.intersection(&ids.deletes);
    for (client, ranges) in kept.iter().rev() {
        for range in ranges {
            deletes.push(client, range.clock(), range.end());
        }
    }
    Ok(part.writer.finish(deletes))
}

/// What is kept so far. Whole structs wait in `run`, to be copied together.
struct Part<'a> {
    update: &'a [u8],
    writer: Writer,
    run: Run,
    running: bool,
}

impl Part<'_> {
    /// Keeps what `range` covers of the struct at `place`, which is something.
    fn keep(&mut self, scanner: &Scanner<'_>, place: &Place, range: IdRange) -> Result<(), UpdateError> {
        let (from, to) = (range.clock().max(place.clock), range.end().min(place.end));
        if (from, to) == (place.clock, place.end) {
            if self.running && self.run.end() == from {
                self.run.push(place);
                return Ok(());
            }
            self.flush();
            self.writer.skip_to(from);
            self.run.restart(place);
            self.running = true;
            return Ok(());
        }
        self.flush();
        self.writer.skip_to(from);
        self.writer.piece(&scanner.view(place)?, from, to)
    }

    fn flush(&mut self) {
        if std::mem::take(&mut self.running) {
            self.writer.copy(&self.run, self.update);
        }
    }
}

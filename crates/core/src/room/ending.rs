//! The end of a room that was deleted.

use super::{Effect, RoomCore};
use crate::Close;

/// What is known of the room's deletion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Ending {
    /// Nothing.
    #[default]
    None,
    /// The stream says that the room was deleted, and it is being looked whether that is still so.
    Asked {
        /// It has said so again since.
        again: bool,
    },
    /// It is over: nothing is sent, appended or loaded any more.
    Over,
}

impl RoomCore {
    /// The stream says that the room was deleted. It may have been restored since: an old line comes again where the stream is
    /// followed anew or what was set aside is released, and clients take the word of 4404 for good.
    pub(super) fn ask_for_deletion(&mut self, effects: &mut Vec<Effect>) {
        match &mut self.ending {
            Ending::None => {
                self.ending = Ending::Asked { again: false };
                effects.push(Effect::LookForDeletion);
            }
            Ending::Asked { again } => *again = true,
            Ending::Over => {}
        }
    }

    /// It was looked whether the room is deleted. `None`: that could not be found out.
    pub fn on_deletion(&mut self, is_deleted: Option<bool>) -> Vec<Effect> {
        let Ending::Asked { again } = self.ending else { return Vec::new() };
        self.ending = Ending::None;
        let mut effects = Vec::new();
        match is_deleted {
            Some(true) => self.end(Close::DELETED, &mut effects),
            // Whoever comes again finds out.
            None => self.end(Close::TRY_AGAIN, &mut effects),
            Some(false) if again => self.ask_for_deletion(&mut effects),
            Some(false) => {}
        }
        effects
    }

    /// Sends everybody away and ends, without a word to the stream. What waits for it is dropped: nobody has seen it.
    pub(super) fn end(&mut self, close: Close, effects: &mut Vec<Effect>) {
        if !self.is_over() {
            self.ending = Ending::Over;
            effects.push(Effect::End { close });
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.ending == Ending::Over
    }
}

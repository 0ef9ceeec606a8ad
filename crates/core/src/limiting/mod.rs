//! What one client, address, user, room or org may take of a node: how much at a time, how much at once, and what happens beyond.
//!
//! A [`Bound`] is something that can be reached; a [`Tally`] counts how often it was. Rates are kept by a [`TokenBucket`], or by
//! [`Buckets`] and [`Paces`] of many who are told apart; what is open at once by [`Places`], and bytes that are held by [`Shares`].

mod bound;
mod bucket;
mod buckets;
mod failed_auth;
mod kept;
#[expect(clippy::module_inception, reason = "what all of it comes together in")]
mod limiting;
mod paces;
mod places;
mod presence;
mod quota;
mod shares;

pub use bound::{Answer, Bound, Tally};
pub use bucket::{Rate, TokenBucket};
pub use buckets::Buckets;
pub use failed_auth::FailedAuth;
pub use limiting::Limiting;
pub use paces::{Paces, SharedPace, Turn, Waits};
pub use places::{PlaceOf, Places};
pub use presence::HeldPresence;
pub use quota::{Pace, PaceRates, Quota, Quotas};
pub use shares::{Share, Shares};

//! The suites that say when an engine is correct. Every engine runs every case by name:
//!
//! ```ignore
//! yhub_store::stream_log_conformance!(async { my_stream_log_rig().await });
//! yhub_store::doc_store_conformance!(async { my_doc_store_rig().await });
//! yhub_store::asset_store_conformance!(async { my_asset_store_rig().await });
//! yhub_store::response_cache_conformance!(async { my_response_cache_rig().await });
//! yhub_store::ticket_store_conformance!(async { my_ticket_rig().await });
//! ```
//!
//! Each macro makes one `#[tokio::test]` a case, with a rig of its own; so the crate that uses it needs tokio as `tokio`.
//! A case states one sentence of the traits' documentation.

pub mod assets;
pub mod audits;
pub mod cache;
pub mod docs_deletions;
pub mod docs_failures;
pub mod docs_rows;
pub mod docs_safety;
pub mod log_admin;
pub mod log_append;
pub mod log_quarantine;
pub mod log_read;
pub mod log_tail;
pub mod log_tasks;
mod memory_assets;
pub mod notices;
mod support;
pub mod tickets;
pub mod tokens;

use std::{any::Any, future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use yhub_core::{AssetId, ManualTime, RoomId, StreamClock};

pub use memory_assets::MemoryAssets;

use crate::{
    AccessTokenStore, AssetStore, AuditStore, DeletionStore, DocStore, FailureStore, NoticeStore, ResponseCache, StreamAdmin,
    StreamLog, TicketStore,
};

/// A case that takes longer than this hangs.
const CASE_TIMEOUT: Duration = Duration::from_secs(120);

/// A stream log of its own for one case.
pub struct StreamLogRig {
    /// The engine, empty.
    pub log: Arc<dyn StreamLog>,
    /// The same engine, as operators see it.
    pub admin: Arc<dyn StreamAdmin>,
    /// What a case may do to it beside calling it.
    pub control: Arc<dyn LogControl>,
    /// What must live as long as the case: a directory, a server.
    pub keep: Box<dyn Any + Send>,
}

/// What a case may do to a stream log beside calling it.
#[async_trait]
pub trait LogControl: Send + Sync {
    /// The smallest step of time that the engine tells apart for certain. Cases wait for a few of these.
    fn tick(&self) -> Duration;

    /// Has the log's time go on: by setting it, or by waiting.
    async fn advance(&self, by: Duration);

    /// Has the log's time go back. False if it cannot be done; the case then proves less.
    async fn set_back(&self, by: Duration) -> bool {
        let _ = by;
        false
    }

    /// Are tasks claimed oldest first among all rooms? A log in several parts does so within each part.
    fn claims_in_order(&self) -> bool {
        true
    }

    /// Appends a filler. `None` if the engine makes none.
    async fn append_filler(&self, room: &RoomId, floor: StreamClock) -> Option<StreamClock> {
        let _ = (room, floor);
        None
    }

    /// Damages the queue behind the engine's back. False if that damage cannot be, or not be done; the case then proves
    /// less.
    async fn damage_queue(&self, room: &RoomId, damage: QueueDamage) -> bool {
        let _ = (room, damage);
        false
    }
}

/// What may have happened to a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueueDamage {
    /// The room, which is live, has lost the task that nobody has claimed.
    LostTask,
    /// The room, which is live, has got a second task, which nobody has claimed.
    SecondTask,
    /// The room, which is not live, has got a task, which nobody has claimed.
    GhostTask,
    /// Beside the tasks there is something that cannot be read as one. It says nothing of the room.
    UnreadableTask,
}

/// The control of an engine that takes its time from a [`ManualTime`].
#[async_trait]
impl LogControl for ManualTime {
    fn tick(&self) -> Duration {
        Duration::from_secs(1)
    }

    async fn advance(&self, by: Duration) {
        Self::advance(self, by);
    }

    async fn set_back(&self, by: Duration) -> bool {
        Self::set_back(self, by);
        true
    }
}

/// A document store of its own for one case.
pub struct DocStoreRig {
    /// The engine, empty.
    pub docs: Arc<dyn DocStore>,
    /// The records of failures and quarantines beside its rows.
    pub failures: Arc<dyn FailureStore>,
    /// What deletes, beside its rows.
    pub deletions: Arc<dyn DeletionStore>,
    /// The records of what is done to them.
    pub audit: Arc<dyn AuditStore>,
    /// The access tokens beside them.
    pub tokens: Arc<dyn AccessTokenStore>,
    /// The notices of changed access beside them.
    pub notices: Arc<dyn NoticeStore>,
    /// What a case may do to it beside calling it.
    pub control: Arc<dyn DocControl>,
    /// What must live as long as the case.
    pub keep: Box<dyn Any + Send>,
}

/// What a case may do to a document store beside calling it.
#[async_trait]
pub trait DocControl: Send + Sync {
    /// From now on no audit record can be written, or again it can: by something behind the engine's back.
    async fn refuse_records(&self, refuse: bool);
}

/// Tickets of their own for one case.
pub struct TicketRig {
    /// The engine, empty.
    pub tickets: Arc<dyn TicketStore>,
    /// Its time.
    pub control: Arc<dyn LogControl>,
    /// What must live as long as the case.
    pub keep: Box<dyn Any + Send>,
}

/// A cache of responses of its own for one case.
pub struct ResponseCacheRig {
    /// The engine, empty.
    pub cache: Arc<dyn ResponseCache>,
    /// Its time.
    pub control: Arc<dyn LogControl>,
    /// What must live as long as the case.
    pub keep: Box<dyn Any + Send>,
}

/// A store of assets of its own for one case.
pub struct AssetStoreRig {
    /// The engine, empty and initialised.
    pub assets: Arc<dyn AssetStore>,
    /// Does it take the asset of this id, or pass it on?
    pub takes: Box<dyn Fn(&AssetId) -> bool + Send + Sync>,
    /// What must live as long as the case.
    pub keep: Box<dyn Any + Send>,
}

/// Runs one case to its end, or fails it when it hangs. For the macros.
pub async fn run_case(case: impl Future<Output = ()>) {
    tokio::time::timeout(CASE_TIMEOUT, case).await.expect("the case hangs");
}

/// One test for each case of the stream log, on the rig that the expression makes: a future of a
/// [`StreamLogRig`](crate::testsuite::StreamLogRig).
#[macro_export]
macro_rules! stream_log_conformance {
    ($rig:expr) => {
        $crate::conformance_cases!($rig;
            log_append: comes_back_in_order_and_whole, clocks_ascend, clocks_stay_above_the_floor, a_condition_is_part_of_the_append,
            time_that_goes_back_changes_no_order, no_clock_after_the_last_is_an_error, an_append_is_not_torn,
            rooms_do_not_mix, odd_room_names_are_kept_apart, big_messages_are_whole, fillers_have_a_position_only,
            clocks_go_on_after_the_stream_was_empty, a_cancelled_append_is_whole_or_absent, check_answers,
            now_goes_on;
            log_read: brings_what_is_after, pages_cover_everything, stops_at_the_entries, stops_at_the_bytes,
            brings_at_least_one, an_unknown_room_is_empty, says_what_was_trimmed,
            nothing_goes_missing_unsaid_while_trimmed, holds_what_is_there_or_was_trimmed;
            log_tasks: one_task_a_live_room, debounce_is_waited_for, no_debounce_claims_at_once,
            oldest_first_and_no_more_than_asked, a_lease_lapses, renewing_prolongs, renewing_needs_owner_and_epoch,
            appending_to_a_claimed_room_enqueues_nothing, completing_trims_and_ends, completing_trims_only_upto,
            completing_keeps_the_young, completing_needs_owner_and_epoch, completing_twice_does_it_once,
            giving_back_frees_at_once, giving_back_needs_owner_and_epoch, giving_back_for_later_waits,
            giving_back_for_later_needs_owner_and_epoch, what_waited_is_like_any_other, raised_epochs_are_exceeded,
            epochs_and_attempts_grow, workers_share_no_task, time_that_goes_back_strands_no_task, time_that_goes_back_keeps_nothing_for_long,
            a_cancelled_claim_loses_no_task;
            log_tail: brings_the_old_then_the_new, follows_from_the_clock_asked_for, unfollowed_means_silent,
            following_again_starts_over, following_after_unfollowing_starts_over, trimmed_entries_are_a_gap,
            following_from_the_trimmed_clock_is_no_gap, nothing_lost_or_twice_under_load,
            nothing_lost_or_twice_while_refollowing, an_undrained_tail_loses_nothing,
            many_rooms_in_one_tail, what_arrives_can_be_read, a_dropped_tail_disturbs_nobody, fillers_arrive;
            log_quarantine: leaves_a_filler_and_one_task, a_claimed_task_stays_the_only_one, what_is_set_aside_can_be_read,
            later_entries_stand_above, following_from_before_is_a_gap, a_follower_that_is_up_to_date_is_told_of_a_gap,
            releasing_restores_and_forgets, what_is_released_arrives, releasing_enqueues_once, releasing_the_unknown_is_none,
            discarding_erases_one_and_forgets_it,
            a_room_without_entries_is_left_alone, a_second_time_under_one_name_does_nothing, streams_set_aside_do_not_mix,
            listings_show_what_is_set_aside, odd_room_names_are_kept_apart, nothing_is_lost_or_doubled_under_load,
            a_cancelled_one_is_whole_or_absent;
            log_admin: live_rooms_are_listed, tasks_are_listed_as_they_stand, a_listing_misses_nothing_that_stays,
            a_pause_takes_tasks_off, a_pause_outlasts_everything, hastening_ends_the_waiting, hastening_needs_a_live_room,
            clearing_empties_and_goes_on, a_cleared_room_has_one_task, clearing_is_a_gap_for_those_behind,
            reconciling_leaves_alone_what_is_right, reconciling_puts_the_queue_right, reconciling_beside_writers_enqueues_once,
            odd_room_names_are_kept_apart;
        );
    };
}

/// One test for each case of the document store, on the rig that the expression makes: a future of a
/// [`DocStoreRig`](crate::testsuite::DocStoreRig).
#[macro_export]
macro_rules! doc_store_conformance {
    ($rig:expr) => {
        $crate::conformance_cases!($rig;
            docs_rows: an_unknown_room_is_empty, bytes_come_back_exactly, only_what_is_selected_comes,
            assets_of_later_rows_stay, what_is_longer_than_allowed_stays,
            rows_order_as_numbers, replaced_rows_are_gone, its_own_key_is_not_replaced, a_row_that_is_there_is_left_alone,
            which_columns_are_references, odd_room_names_are_kept_apart, a_name_with_nul_is_kept_or_refused,
            big_assets_are_whole, hundreds_of_rows_are_replaced_at_once, check_answers;
            docs_safety: nothing_is_stored_after_a_hard_deletion, a_soft_deletion_bars_nothing,
            the_first_deletion_keeps_time_and_author, hard_stays_hard, purged_stays_purged,
            a_tombstone_without_rows_is_seen, a_later_claim_supersedes, the_fence_is_of_one_room,
            readers_see_one_moment, a_cancelled_store_is_whole_or_absent, a_deletion_wins_every_race,
            concurrent_claims_end_in_order;
            docs_failures: failures_alike_are_counted, another_signature_starts_over, a_repeated_report_counts_once,
            rooms_that_fail_alike_are_counted, a_compacted_room_is_forgotten, concurrent_failures_are_all_counted,
            failures_come_in_pages, texts_for_operators_are_kept_or_cut, numbers_at_their_ends_are_kept,
            a_quarantine_is_named_when_its_room_is_read, a_recorded_quarantine_stays_as_it_is, a_quarantine_ends_once,
            quarantines_come_oldest_first, quarantines_come_in_pages, odd_rooms_fail_apart,
            names_that_cannot_be_kept_are_refused_as_names;
            docs_deletions: a_tombstone_is_found_by_itself, only_a_soft_deletion_is_taken_back, only_what_is_due_is_hardened,
            only_rows_of_rooms_deleted_for_good_are_erased,
            what_is_erased_is_noted_until_the_receipt_is_there, erased_rows_say_where_their_assets_are, the_first_receipt_stays,
            a_hold_forbids_erasing, the_first_hold_stays, of_a_hold_and_a_deletion_one_is_first,
            whoever_erases_each_row_is_noted_once, tombstones_are_found_by_state, listings_in_pages_have_each_room_once,
            the_rooms_of_an_organisation_are_listed, an_overview_counts_rows_and_bytes, a_duty_has_one_owner_at_a_time,
            names_with_nul_are_kept_or_refused;
            audits: records_come_back_whole, texts_are_cut_at_their_bounds, pages_have_each_record_once, filters_are_all_kept_to,
            what_is_old_is_deleted_in_parts, concurrent_records_are_all_kept, a_change_leaves_its_record,
            what_is_refused_leaves_no_record, without_its_record_there_is_no_change;
            tokens: tokens_come_back_whole, what_cannot_be_kept_is_refused, an_id_is_given_once, a_parent_must_be_alive,
            descendants_are_revoked_along, nobody_slips_through_a_revocation, lists_of_an_org_have_what_reaches_no_further,
            what_ended_long_ago_is_forgotten;
            notices: notices_come_back_whole, those_since_a_time_come_oldest_first, more_than_is_asked_for_is_said,
            many_users_make_several, what_is_old_is_deleted_in_parts, who_is_revoked_is_noticed, many_revoked_make_several;
        );
    };
}

/// One test for each case of kept responses, on the rig that the expression makes: a future of a
/// [`ResponseCacheRig`](crate::testsuite::ResponseCacheRig).
#[macro_export]
macro_rules! response_cache_conformance {
    ($rig:expr) => {
        $crate::conformance_cases!($rig;
            cache: bytes_come_back_exactly, other_questions_have_other_answers, a_place_is_reserved_once, the_next_takes_the_place, a_time_ends,
            what_cannot_be_kept_is_not_there, a_forgotten_room_takes_nobody_along, a_room_with_many_is_forgotten;
        );
    };
}

/// One test for each case of tickets, on the rig that the expression makes: a future of a
/// [`TicketRig`](crate::testsuite::TicketRig).
#[macro_export]
macro_rules! ticket_store_conformance {
    ($rig:expr) => {
        $crate::conformance_cases!($rig;
            tickets: a_ticket_is_taken_once, tickets_do_not_mix, of_many_takers_one_gets_it, a_time_ends,
            what_cannot_be_kept_is_not_there;
        );
    };
}

/// One test for each case of stored assets, on the rig that the expression makes: a future of an
/// [`AssetStoreRig`](crate::testsuite::AssetStoreRig).
#[macro_export]
macro_rules! asset_store_conformance {
    ($rig:expr) => {
        $crate::conformance_cases!($rig;
            assets: an_unknown_asset_is_none, assets_come_back_exactly, the_next_takes_the_place, what_is_deleted_is_gone,
            what_is_longer_than_allowed_stays, big_assets_are_whole, odd_names_are_kept_apart, what_is_passed_on_is_not_there, a_room_is_listed_without_others,
            listings_come_in_pages, a_listing_says_what_is_there, what_is_listed_can_be_deleted_meanwhile,
            stores_at_once_leave_one_whole, a_cancelled_store_is_whole_or_absent, preparing_again_changes_nothing,
            check_answers;
        );
    };
}

/// Makes the tests of the macros above; not for itself.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_cases {
    ($rig:expr; $($module:ident: $($case:ident),+;)+) => {
        $($crate::conformance_cases!(@module $rig; $module; $($case),+);)+
    };
    (@module $rig:expr; $module:ident; $($case:ident),+) => {
        mod $module {
            #[allow(unused_imports, reason = "what the rig names, if it names anything")]
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    $crate::testsuite::run_case(async { $crate::testsuite::$module::$case($rig.await).await }).await;
                }
            )+
        }
    };
}

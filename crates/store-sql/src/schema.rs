//! The tables as Diesel sees them. Their meaning stands in the migrations.

/// `stream.sqlite3`.
pub(crate) mod stream {
    diesel::table! {
        stream_rooms (id) {
            id -> BigInt,
            org -> Text,
            docid -> Text,
            branch -> Text,
            last_ms -> BigInt,
            last_seq -> BigInt,
            trimmed_ms -> BigInt,
            trimmed_seq -> BigInt,
            epoch -> BigInt,
            paused -> Bool,
        }
    }

    diesel::table! {
        stream_entries (pos) {
            pos -> BigInt,
            room -> BigInt,
            ms -> BigInt,
            seq -> BigInt,
            message -> Nullable<Binary>,
        }
    }

    diesel::table! {
        stream_tasks (id) {
            id -> BigInt,
            room -> BigInt,
            owner -> Nullable<Text>,
            epoch -> BigInt,
            attempt -> BigInt,
            since_ms -> BigInt,
            not_before_ms -> Nullable<BigInt>,
        }
    }

    diesel::table! {
        stream_quarantined (id) {
            id -> BigInt,
            room -> BigInt,
            qid -> Text,
        }
    }

    diesel::table! {
        stream_probe (id) {
            id -> BigInt,
            checked_ms -> BigInt,
        }
    }

    diesel::joinable!(stream_tasks -> stream_rooms (room));
    diesel::joinable!(stream_quarantined -> stream_rooms (room));
    diesel::allow_tables_to_appear_in_same_query!(stream_rooms, stream_entries, stream_tasks, stream_quarantined);
}

/// `documents.sqlite3`, and the same names in other databases.
pub(crate) mod documents {
    diesel::table! {
        yhub_ydoc_v1 (org, docid, branch, t) {
            org -> Text,
            docid -> Text,
            branch -> Text,
            t -> Text,
            created -> Nullable<BigInt>,
            gcdoc -> Nullable<Binary>,
            nongcdoc -> Nullable<Binary>,
            contentmap -> Nullable<Binary>,
            contentids -> Nullable<Binary>,
            gcdoc_is_reference -> Bool,
            nongcdoc_is_reference -> Bool,
            contentmap_is_reference -> Bool,
            contentids_is_reference -> Bool,
        }
    }

    diesel::table! {
        yhub_ydoc_tombstones_v1 (org, docid, branch) {
            org -> Text,
            docid -> Text,
            branch -> Text,
            deleted_at -> BigInt,
            hard -> Bool,
            purged_at -> Nullable<BigInt>,
            by -> Nullable<Text>,
        }
    }

    diesel::table! {
        yhub_room_epochs_v1 (org, docid, branch) {
            org -> Text,
            docid -> Text,
            branch -> Text,
            epoch -> BigInt,
        }
    }

    diesel::table! {
        yhub_failures_v1 (org, docid, branch) {
            org -> Text,
            docid -> Text,
            branch -> Text,
            class -> Text,
            signature -> Text,
            message -> Text,
            from_clock -> Text,
            upto_clock -> Text,
            in_a_row -> BigInt,
            attempt -> BigInt,
            first_ms -> BigInt,
            last_ms -> BigInt,
        }
    }

    diesel::table! {
        yhub_quarantines_v1 (org, docid, branch, qid) {
            org -> Text,
            docid -> Text,
            branch -> Text,
            qid -> Text,
            class -> Text,
            signature -> Text,
            reason -> Text,
            from_clock -> Text,
            upto_clock -> Text,
            at_ms -> BigInt,
        }
    }

    diesel::table! {
        yhub_holds_v1 (org, docid, branch) {
            org -> Text,
            docid -> Text,
            branch -> Text,
            held_by -> Text,
            reason -> Text,
            at_ms -> BigInt,
        }
    }

    diesel::table! {
        yhub_erased_rows_v1 (org, docid, branch, t) {
            org -> Text,
            docid -> Text,
            branch -> Text,
            t -> Text,
            gcdoc_bytes -> Nullable<BigInt>,
            nongcdoc_bytes -> Nullable<BigInt>,
            contentmap_bytes -> Nullable<BigInt>,
            contentids_bytes -> Nullable<BigInt>,
            gcdoc_plugin -> Nullable<Text>,
            nongcdoc_plugin -> Nullable<Text>,
            contentmap_plugin -> Nullable<Text>,
            contentids_plugin -> Nullable<Text>,
        }
    }

    diesel::table! {
        yhub_deletion_receipts_v1 (org, docid, branch) {
            org -> Text,
            docid -> Text,
            branch -> Text,
            purged_at -> BigInt,
            receipt -> Text,
        }
    }

    diesel::table! {
        yhub_duties_v1 (name) {
            name -> Text,
            owner -> Text,
            taken_ms -> BigInt,
            until_ms -> BigInt,
        }
    }

    diesel::table! {
        yhub_audit_v1 (at_ms, id) {
            at_ms -> BigInt,
            id -> Text,
            actor -> Text,
            via -> Text,
            action -> Text,
            org -> Nullable<Text>,
            docid -> Nullable<Text>,
            branch -> Nullable<Text>,
            result -> Text,
            request_id -> Text,
            address -> Nullable<Text>,
            detail -> Text,
            stands_for -> BigInt,
        }
    }

    diesel::table! {
        yhub_access_tokens_v1 (id) {
            id -> Text,
            secret_hash -> Binary,
            org -> Nullable<Text>,
            user_id -> Text,
            label -> Text,
            grants -> Text,
            created_ms -> BigInt,
            expires_ms -> Nullable<BigInt>,
            revoked_ms -> Nullable<BigInt>,
            created_by -> Text,
        }
    }

    diesel::table! {
        yhub_access_token_ancestors_v1 (token, depth) {
            token -> Text,
            depth -> BigInt,
            ancestor -> Text,
        }
    }

    diesel::table! {
        yhub_notices_v1 (at_ms, id) {
            at_ms -> BigInt,
            id -> Text,
            org -> Nullable<Text>,
            users -> Nullable<Binary>,
            cut -> Bool,
        }
    }

    use diesel::sql_types::{Binary, Nullable};

    diesel::define_sql_function! {
        /// How long a binary is, in bytes; of one that is long, that is known without reading it.
        fn length(value: Nullable<Binary>) -> Nullable<Integer>;
    }

    diesel::allow_tables_to_appear_in_same_query!(yhub_ydoc_v1, yhub_ydoc_tombstones_v1, yhub_room_epochs_v1);
    diesel::allow_tables_to_appear_in_same_query!(yhub_access_tokens_v1, yhub_access_token_ancestors_v1);
}

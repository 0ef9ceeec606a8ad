//! Tickets in memory run every case of the suite.

use std::sync::Arc;

use yhub_core::ManualTime;
use yhub_store::{MemoryTickets, TicketBound, testsuite::TicketRig};

async fn rig() -> TicketRig {
    let time = Arc::new(ManualTime::new(1_700_000_000_000));
    let tickets = Arc::new(MemoryTickets::new(TicketBound::default(), time.clone()));
    TicketRig { tickets, control: time, keep: Box::new(()) }
}

yhub_store::ticket_store_conformance!(rig());

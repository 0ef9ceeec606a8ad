//! Leases: work whose lease is lost ends; work goes on for as long as its lease is renewed.

mod support;

use std::time::Duration;

use support::{Rig, Settings};
use yhub_testkit::TextWriter;

const LEASE: Duration = Duration::from_millis(600);

/// A compaction that waits for its store.
async fn working() -> Rig {
    let rig = Rig::with(Settings { concurrency: 1, lease: LEASE, ..Settings::default() });
    rig.docs.hang();
    let (mut author, _) = rig.join("doc").await;
    let update = TextWriter::new(7).append("x");
    author.write(&update).await;
    assert_eq!(author.update().await, update);
    rig
}

#[actix::test]
async fn a_lost_lease_ends_the_work() {
    let rig = working().await;
    rig.log.deny_renewals();
    rig.until("the work is cut off", |rig| rig.docs.cut_off() == 1).await;
}

#[actix::test]
async fn work_goes_on_while_its_lease_is_renewed() {
    let rig = working().await;
    // Three leases long.
    rig.until("leases are renewed", |rig| rig.log.calls("renew") >= 9).await;
    assert_eq!(rig.docs.cut_off(), 0);
}

/// A store of leases that does not answer cannot say that they are lost; time does.
#[actix::test]
async fn a_lease_that_is_not_renewed_in_time_ends_the_work() {
    let rig = working().await;
    for _ in 0..200 {
        rig.log.fail_at("renew");
        tokio::time::sleep(LEASE / 60).await;
        if rig.docs.cut_off() > 0 {
            return;
        }
    }
    panic!("the work went on without a lease");
}

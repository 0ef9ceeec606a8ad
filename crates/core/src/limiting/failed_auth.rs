//! Failed attempts to say who one is, by address.

use std::net::IpAddr;

use super::{Buckets, Rate};

/// So many addresses are remembered.
const MAX_ADDRESSES: usize = 65_536;
/// What a failure costs.
const FAILURE: u64 = 4;
/// What an attempt costs that was neither good nor bad. It may lie with what was shown, or with who could not say what that is.
const UNCLEAR: u64 = 1;

/// How often somebody at an address may fail to prove who they are. Only failures count: who succeeds is never held up by their own.
pub struct FailedAuth {
    buckets: Buckets<IpAddr>,
    rate: Rate,
}

impl FailedAuth {
    /// So many failures a minute, 0 for no bound; those of one who has not failed for long come at once.
    pub fn per_minute(failures: usize) -> Self {
        Self { buckets: Buckets::new(MAX_ADDRESSES), rate: Rate::per_minute(failures.saturating_mul(FAILURE as usize)) }
    }

    /// May somebody at `address` try? To be asked before anything is looked at that costs something.
    ///
    /// # Errors
    /// After how many milliseconds they may.
    pub fn may_try(&self, address: IpAddr, now_ms: u64) -> Result<(), u64> {
        if self.rate.is_none() {
            return Ok(());
        }
        match self.buckets.wait_ms(&address, &self.rate, FAILURE, now_ms) {
            0 => Ok(()),
            wait_ms => Err(wait_ms),
        }
    }

    /// Somebody at `address` has failed.
    pub fn failed(&self, address: IpAddr, now_ms: u64) {
        self.spend(address, FAILURE, now_ms);
    }

    /// Somebody at `address` has shown something of which whoever was asked could not say what it is: a quarter of a failure.
    pub fn unclear(&self, address: IpAddr, now_ms: u64) {
        self.spend(address, UNCLEAR, now_ms);
    }

    fn spend(&self, address: IpAddr, cost: u64, now_ms: u64) {
        if !self.rate.is_none() {
            self.buckets.spend(address, &self.rate, cost, now_ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn only_failures_count_and_only_against_their_address() {
        let failed = FailedAuth::per_minute(3);
        let (bad, good) = (IpAddr::from(Ipv4Addr::new(10, 0, 0, 1)), IpAddr::from(Ipv4Addr::new(10, 0, 0, 2)));
        for _ in 0..3 {
            assert_eq!(failed.may_try(bad, 0), Ok(()));
            failed.failed(bad, 0);
        }
        assert_eq!(failed.may_try(bad, 0), Err(20_000));
        assert_eq!(failed.may_try(good, 0), Ok(()));
        assert_eq!(failed.may_try(bad, 20_000), Ok(()));
        let unclear = FailedAuth::per_minute(3);
        for _ in 0..9 {
            assert_eq!(unclear.may_try(bad, 0), Ok(()));
            unclear.unclear(bad, 0);
        }
        assert_eq!(unclear.may_try(bad, 0), Err(5_000));
        for _ in 0..1_000 {
            assert_eq!(FailedAuth::per_minute(0).may_try(bad, 0), Ok(()));
        }
    }
}

//! Who may open one more session on a node.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use yhub_core::{
    RoomId,
    limiting::{Bound, Pace, PaceRates, PlaceOf, Places, Quota},
};

use crate::node::Node;

/// Who comes.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// From where, as addresses are told apart.
    pub address: IpAddr,
    /// Who they are; `None` for those who are not told apart.
    pub user: Option<&'a str>,
    /// Where they want to go.
    pub room: &'a RoomId,
}

/// What is open on a node, by what it is told apart by. Only what has a bound is counted.
#[derive(Default)]
pub(crate) struct Admission {
    addresses: Arc<Places<IpAddr>>,
    orgs: Arc<Places<String>>,
    users: Arc<Places<String>>,
    rooms: Arc<Places<RoomId, RoomPace>>,
}

/// What the sessions of one room share on a node: what they may send together.
pub(crate) struct RoomPace(Mutex<Pace>);

impl RoomPace {
    /// Does something with it. What is done does not panic; were it to, the pace is still one.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Pace) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One session counted; given back when dropped.
pub struct Place {
    node: Arc<Node>,
    _address: Option<PlaceOf<IpAddr>>,
    _org: Option<PlaceOf<String>>,
    _user: Option<PlaceOf<String>>,
    room: Option<PlaceOf<RoomId, RoomPace>>,
}

impl Place {
    pub(crate) fn room(&self) -> Option<&RoomPace> {
        self.room.as_deref()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.node.close_place();
    }
}

impl Node {
    /// A place for one more session.
    ///
    /// # Errors
    /// The bound that is reached, which is counted.
    pub fn admit(self: &Arc<Self>, arrival: &Arrival<'_>) -> Result<Place, Bound> {
        self.try_admit(arrival).inspect_err(|bound| self.limiting.tally.count(*bound))
    }

    fn try_admit(self: &Arc<Self>, arrival: &Arrival<'_>) -> Result<Place, Bound> {
        let quota = self.limiting.quotas.of(arrival.room.org());
        let Quota { connections, connections_per_user, connections_per_room, room: rates, .. } = **quota;
        let admission = self.admission();
        // What is taken before a bound is reached is given back with the place.
        let mut place = self.open_place().ok_or(Bound::NodeConnections)?;
        let most = self.limiting.connections_per_address;
        if most > 0 {
            let taken = admission.addresses.take(arrival.address, most, || ());
            place._address = Some(taken.ok_or(Bound::AddressConnections)?);
        }
        if connections > 0 {
            let taken = admission.orgs.take(arrival.room.org().to_owned(), connections, || ());
            place._org = Some(taken.ok_or(Bound::OrgConnections)?);
        }
        if let (Some(user), 1..) = (arrival.user, connections_per_user) {
            let taken = admission.users.take(user.to_owned(), connections_per_user, || ());
            place._user = Some(taken.ok_or(Bound::UserConnections)?);
        }
        if connections_per_room > 0 || rates != PaceRates::default() {
            let share = || RoomPace(Mutex::new(Pace::full(&rates, self.uptime_ms())));
            let taken = admission.rooms.take(arrival.room.clone(), connections_per_room, share);
            place.room = Some(taken.ok_or(Bound::RoomConnections)?);
        }
        Ok(place)
    }

    /// A place of which nothing is counted but that it is open; `None` if [`crate::NodeParts::max_connections`] are.
    pub fn open_place(self: &Arc<Self>) -> Option<Place> {
        self.take_place().then(|| Place { node: self.clone(), _address: None, _org: None, _user: None, room: None })
    }
}

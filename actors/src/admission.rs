//! Who may open one more session on a node.

use std::{net::IpAddr, sync::Arc};

use yhub_core::{
    RoomId,
    limiting::{Bound, Limiting, Paces, PlaceOf, Places, Quota, Share, SharedPace, Shares},
};

use crate::node::Node;

/// So many addresses, users and rooms are told apart by what they send, each.
const MAX_PACES: usize = 65_536;

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

/// What is open on a node, by what it is told apart by, and what it has sent. Only what has a bound is counted.
pub(crate) struct Admission {
    addresses: Arc<Places<IpAddr>>,
    orgs: Arc<Places<String>>,
    /// By org and user: the same name may be somebody else elsewhere, with other bounds.
    users: Arc<Places<(String, String)>>,
    rooms: Arc<Places<RoomId>>,
    address_paces: Paces<IpAddr>,
    user_paces: Paces<(String, String)>,
    room_paces: Paces<RoomId>,
    unfinished: Arc<Shares<IpAddr>>,
}

impl Admission {
    pub(crate) fn new(limiting: &Limiting) -> Self {
        Self {
            addresses: Arc::default(),
            orgs: Arc::default(),
            users: Arc::default(),
            rooms: Arc::default(),
            address_paces: Paces::new(MAX_PACES),
            user_paces: Paces::new(MAX_PACES),
            room_paces: Paces::new(MAX_PACES),
            unfinished: Arc::new(Shares::new(limiting.unfinished_bytes, limiting.unfinished_bytes_of_address)),
        }
    }
}

/// One session counted; given back when dropped.
pub struct Place {
    node: Arc<Node>,
    _address: Option<PlaceOf<IpAddr>>,
    _org: Option<PlaceOf<String>>,
    _user: Option<PlaceOf<(String, String)>>,
    _room: Option<PlaceOf<RoomId>>,
    paces: PlacePaces,
    unfinished: Share<IpAddr>,
}

/// The paces that a session keeps together with others.
#[derive(Default)]
pub(crate) struct PlacePaces {
    pub(crate) address: Option<Arc<SharedPace>>,
    pub(crate) user: Option<Arc<SharedPace>>,
    pub(crate) room: Option<Arc<SharedPace>>,
}

impl Place {
    pub(crate) fn paces(&self) -> &PlacePaces {
        &self.paces
    }

    /// So many bytes of a message have come whose end has not. `false`: there is no room for them.
    pub(crate) fn hold_unfinished(&mut self, size_bytes: usize) -> bool {
        self.unfinished.set(size_bytes)
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
        let quota = self.limiting.quotas.of(arrival.room.org()).clone();
        let Quota { connections, connections_per_user, connections_per_room, .. } = *quota;
        let admission = self.admission();
        // What is taken before a bound is reached is given back with the place.
        let mut place = self.open_place(arrival.address).ok_or(Bound::NodeConnections)?;
        let most = self.limiting.connections_per_address;
        if most > 0 {
            let taken = admission.addresses.take(arrival.address, most);
            place._address = Some(taken.ok_or(Bound::AddressConnections)?);
        }
        if connections > 0 {
            let taken = admission.orgs.take(arrival.room.org().to_owned(), connections);
            place._org = Some(taken.ok_or(Bound::OrgConnections)?);
        }
        let user = arrival.user.map(|user| (arrival.room.org().to_owned(), user.to_owned()));
        if let (Some(user), 1..) = (&user, connections_per_user) {
            let taken = admission.users.take(user.clone(), connections_per_user);
            place._user = Some(taken.ok_or(Bound::UserConnections)?);
        }
        if connections_per_room > 0 {
            let taken = admission.rooms.take(arrival.room.clone(), connections_per_room);
            place._room = Some(taken.ok_or(Bound::RoomConnections)?);
        }
        let now_ms = self.uptime_ms();
        place.paces = PlacePaces {
            address: admission.address_paces.of(arrival.address, &self.limiting.address, now_ms),
            user: user.and_then(|user| admission.user_paces.of(user, &quota.user, now_ms)),
            room: admission.room_paces.of(arrival.room.clone(), &quota.room, now_ms),
        };
        Ok(place)
    }

    /// A place of which nothing is counted but that it is open, and what its messages hold; `None` if
    /// [`crate::NodeParts::max_connections`] are.
    pub fn open_place(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let (paces, unfinished) = (PlacePaces::default(), self.admission().unfinished.share(address));
        self.take_place().then(|| Place {
            node: self.clone(),
            _address: None,
            _org: None,
            _user: None,
            _room: None,
            paces,
            unfinished,
        })
    }
}

//! The loopback device `lo`: its flags, its addresses, and the routes that follow from them.

use super::routes::{self, BY_KERNEL, LOCAL_TABLE, MAIN_TABLE, Route, RouteKind, network_of};
use crate::errno::{Errno, Result};
use crate::time::clock;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use linux_raw_sys::{net, netlink};

/// The index of `lo` in every namespace (`LOOPBACK_IFINDEX`).
pub const INDEX: u32 = 1;
/// Longest name of a device, without its NUL (`IFNAMSIZ`).
pub const NAME_MAX_BYTES: usize = 15;
/// Metric of the route to an IPv6 address' network (`IP6_RT_PRIO_ADDRCONF`).
const V6_PREFIX_PRIORITY: u32 = 256;

/// `RT_SCOPE_HOST`, of addresses and routes that never leave the machine.
pub const HOST_SCOPE: u8 = netlink::rt_scope_t::RT_SCOPE_HOST as u8;
/// `RT_SCOPE_LINK`.
pub const LINK_SCOPE: u8 = netlink::rt_scope_t::RT_SCOPE_LINK as u8;
/// `IFF_UP` and its like, as numbers.
pub mod flags {
    use linux_raw_sys::net::net_device_flags as iff;
    /// Can be used.
    pub const UP: u32 = iff::IFF_UP as u32;
    /// Is the loopback.
    pub const LOOPBACK: u32 = iff::IFF_LOOPBACK as u32;
    /// Is up and has a carrier.
    pub const RUNNING: u32 = iff::IFF_RUNNING as u32;
    /// The driver says that it has a carrier. Too large for the 16 bits of `SIOCGIFFLAGS`.
    pub const LOWER_UP: u32 = iff::IFF_LOWER_UP as u32;
    /// What programs may set besides UP.
    pub const SETTABLE: u32 = iff::IFF_DEBUG as u32
        | iff::IFF_NOTRAILERS as u32
        | iff::IFF_NOARP as u32
        | iff::IFF_DYNAMIC as u32
        | iff::IFF_MULTICAST as u32
        | iff::IFF_PORTSEL as u32
        | iff::IFF_AUTOMEDIA as u32
        | iff::IFF_PROMISC as u32
        | iff::IFF_ALLMULTI as u32;
}

/// An address of the device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    /// The address itself.
    pub local: IpAddr,
    /// The other end's on a point-to-point link; the same as `local` otherwise.
    pub peer: IpAddr,
    /// How many bits are the network's.
    pub prefix_length: u8,
    /// `IFA_F_*`.
    pub flags: u32,
    /// `RT_SCOPE_*`.
    pub scope: u8,
    /// IPv4's broadcast address, if one was given.
    pub broadcast: Option<Ipv4Addr>,
    /// IPv4's label, which begins with the device's name.
    pub label: Vec<u8>,
    /// `IFAPROT_*`: who made it.
    pub protocol: u8,
    /// Lifetimes in seconds: preferred, valid; `u32::MAX` for ever.
    pub lifetimes_s: [u32; 2],
    /// When it was made, and when changed.
    pub times_ns: [u64; 2],
}

impl Address {
    /// A permanent address without anything special.
    pub fn new(local: IpAddr, prefix_length: u8, scope: u8) -> Self {
        let now = clock::monotonic_ns();
        Self {
            local,
            peer: local,
            prefix_length,
            flags: netlink::IFA_F_PERMANENT,
            scope,
            broadcast: None,
            label: b"lo".to_vec(),
            protocol: 0,
            lifetimes_s: [u32::MAX; 2],
            times_ns: [now; 2],
        }
    }

    fn network(&self) -> IpAddr {
        network_of(self.peer, self.prefix_length)
    }

    fn is_secondary(&self) -> bool {
        self.flags & netlink::IFA_F_SECONDARY != 0
    }
}

/// What changed, for those who listen (`rtnetlink(7)`).
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Event {
    /// The device: flags that changed.
    Link(u32),
    AddressAdded(Address),
    AddressRemoved(Address),
    RouteAdded(Route),
    RouteRemoved(Route),
}

/// See the file's first line.
pub struct Loopback {
    /// `lo`, until somebody renames it.
    pub name: Vec<u8>,
    /// `IFF_*` as set.
    set_flags: u32,
    /// Largest packet.
    pub mtu: u32,
    /// Packets that may wait: a number that is only remembered.
    pub queue_length: u32,
    /// The link-layer address.
    pub hardware_address: [u8; 6],
    /// `IFLA_IFALIAS`.
    pub alias: Vec<u8>,
    /// `IFLA_GROUP`.
    pub group: u32,
    /// It was up once: it has its queueing discipline `noqueue` since.
    pub was_up: bool,
    /// Its addresses, in the order in which they came.
    addresses: Vec<Address>,
    routes: Vec<Route>,
    /// IPv4's tables that there are: each comes with its first route, and stays.
    v4_tables: BTreeSet<u32>,
    /// Packets and bytes that went through it, in either direction the same.
    pub packets: u64,
    /// See `packets`.
    pub bytes: u64,
}

impl Loopback {
    /// Down and without addresses.
    pub fn new() -> Self {
        Self {
            name: b"lo".to_vec(),
            set_flags: flags::LOOPBACK,
            mtu: 65536,
            queue_length: 1000,
            hardware_address: [0; 6],
            alias: Vec::new(),
            group: 0,
            was_up: false,
            addresses: Vec::new(),
            routes: Vec::new(),
            v4_tables: BTreeSet::new(),
            packets: 0,
            bytes: 0,
        }
    }

    /// The flags as they are shown.
    pub fn flags(&self) -> u32 {
        if self.is_up() { self.set_flags | flags::RUNNING | flags::LOWER_UP } else { self.set_flags }
    }

    /// The flags without those that follow from others.
    pub fn configured_flags(&self) -> u32 {
        self.set_flags
    }

    /// Whether it can be used.
    pub fn is_up(&self) -> bool {
        self.set_flags & flags::UP != 0
    }

    /// Its addresses, IPv4's in their order, then IPv6's with the narrower scope last.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// All routes of the namespace.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// Whether there is a table of routes. IPv6 has its two from the beginning.
    pub fn has_table(&self, is_v4: bool, table: u32) -> bool {
        if is_v4 {
            self.v4_tables.contains(&table)
        } else {
            matches!(table, LOCAL_TABLE | MAIN_TABLE) || self.routes.iter().any(|route| route.destination.is_ipv6() && route.table == table)
        }
    }

    fn note_table(&mut self, route: &Route) {
        if route.destination.is_ipv4() {
            self.v4_tables.insert(route.table);
            // The two come together.
            if route.table == LOCAL_TABLE {
                self.v4_tables.insert(MAIN_TABLE);
            }
        }
    }

    /// Whether packets for the address stay here.
    pub fn is_local(&self, address: IpAddr) -> bool {
        matches!(self.route_to(address), Ok(Route { kind: RouteKind::Local, .. }))
    }

    /// Where packets for the address go.
    pub fn route_to(&self, address: IpAddr) -> Result<&Route> {
        routes::find(&self.routes, address)
    }

    /// A packet goes through.
    pub fn count(&mut self, bytes: usize) {
        self.packets += 1;
        self.bytes += bytes as u64;
    }

    /// Sets the flags that programs may set; going up and down changes addresses and routes.
    pub fn set_flags(&mut self, new: u32, v6_disabled: bool, events: &mut Vec<Event>) {
        let before = self.flags();
        let settable = flags::UP | flags::SETTABLE;
        self.set_flags = (self.set_flags & !settable) | (new & settable);
        let changed = before ^ self.flags();
        if changed != 0 {
            events.push(Event::Link(changed));
        }
        if changed & flags::UP == 0 {
            return;
        }
        if self.is_up() {
            self.came_up(v6_disabled, events);
        } else {
            self.went_down(events);
        }
    }

    /// Its own addresses appear, unless it has others already; the routes of all come back.
    fn came_up(&mut self, v6_disabled: bool, events: &mut Vec<Event>) {
        self.was_up = true;
        if !self.addresses.iter().any(|address| address.local.is_ipv4()) {
            let own = Address { label: self.name.clone(), ..Address::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8, HOST_SCOPE) };
            self.addresses.insert(0, own.clone());
            events.push(Event::AddressAdded(own));
        }
        for address in self.addresses.clone() {
            self.add_routes_of(&address, events);
        }
        if !v6_disabled {
            self.add_v6_loopback(events);
        }
    }

    /// `::1`, which `lo` has while it is up and IPv6 is not disabled.
    pub fn add_v6_loopback(&mut self, events: &mut Vec<Event>) {
        let localhost = IpAddr::V6(Ipv6Addr::LOCALHOST);
        if self.is_up() && !self.addresses.iter().any(|address| address.local == localhost) {
            let own = Address { protocol: netlink::IFAPROT_KERNEL_LO as u8, ..Address::new(localhost, 128, HOST_SCOPE) };
            self.addresses.push(own.clone());
            events.push(Event::AddressAdded(own.clone()));
            self.add_route(local_route(&own, None), events);
        }
    }

    /// IPv6 addresses go, and routes that lead out; local IPv4 addresses stay local, as on Linux.
    fn went_down(&mut self, events: &mut Vec<Event>) {
        self.remove_v6(events);
        self.remove_routes(events, |route| route.kind.has_device() && route.kind != RouteKind::Local);
    }

    /// All IPv6 addresses go (`disable_ipv6`, and going down).
    pub fn remove_v6(&mut self, events: &mut Vec<Event>) {
        self.remove_routes(events, |route| route.destination.is_ipv6() && route.kind.has_device());
        let (gone, left) = core::mem::take(&mut self.addresses).into_iter().partition(|address| address.local.is_ipv6());
        self.addresses = left;
        let gone: Vec<Address> = gone;
        events.extend(gone.into_iter().map(Event::AddressRemoved));
    }

    fn remove_routes(&mut self, events: &mut Vec<Event>, which: impl Fn(&Route) -> bool) {
        let (gone, left) = core::mem::take(&mut self.routes).into_iter().partition(|route| which(route));
        self.routes = left;
        let gone: Vec<Route> = gone;
        events.extend(gone.into_iter().map(Event::RouteRemoved));
    }

    /// Adds an address: `EEXIST` if it is there.
    pub fn add_address(&mut self, mut address: Address, events: &mut Vec<Event>) -> Result<()> {
        /// So many that no program comes near, and that a namespace's memory stays small.
        const MAX_ADDRESSES: usize = 1024;
        let is_same =
            |other: &Address| other.local == address.local && (other.local.is_ipv6() || other.prefix_length == address.prefix_length);
        if self.addresses.iter().any(is_same) {
            return Err(Errno::EXIST);
        }
        if self.addresses.len() >= MAX_ADDRESSES {
            return Err(Errno::NOBUFS);
        }
        let same_network = |other: &&Address| {
            let nets = (other.local.is_ipv4(), other.prefix_length, other.network()) == (true, address.prefix_length, address.network());
            nets && !other.is_secondary()
        };
        if self.addresses.iter().find(same_network).is_some() {
            address.flags |= netlink::IFA_F_SECONDARY;
        }
        let place = if address.local.is_ipv4() {
            self.addresses.iter().position(|other| other.local.is_ipv6())
        } else {
            // Wider scopes (smaller numbers) first, and among them the newest.
            self.addresses.iter().position(|other| other.local.is_ipv6() && other.scope >= address.scope)
        };
        self.addresses.insert(place.unwrap_or(self.addresses.len()), address.clone());
        events.push(Event::AddressAdded(address.clone()));
        if self.is_up() {
            self.add_routes_of(&address, events);
        }
        Ok(())
    }

    /// Removes the first address that is the one meant, with the secondary ones of its network. `EADDRNOTAVAIL` if there is none.
    pub fn remove_address(&mut self, is_meant: impl Fn(&Address) -> bool, events: &mut Vec<Event>) -> Result<()> {
        let index = self.addresses.iter().position(is_meant).ok_or(Errno::ADDRNOTAVAIL)?;
        let removed = self.addresses.remove(index);
        let follows = |other: &Address| {
            let same_network = (other.prefix_length, other.network()) == (removed.prefix_length, removed.network());
            other.local.is_ipv4() && removed.local.is_ipv4() && !removed.is_secondary() && other.is_secondary() && same_network
        };
        let (followers, left) = core::mem::take(&mut self.addresses).into_iter().partition(follows);
        self.addresses = left;
        let mut gone: Vec<Address> = followers;
        gone.push(removed);
        for address in gone {
            self.remove_routes_of(&address, events);
            events.push(Event::AddressRemoved(address));
        }
        Ok(())
    }

    /// Changes the lifetimes of an address that is there.
    pub fn touch_address(&mut self, address: &Address, events: &mut Vec<Event>) {
        if let Some(own) = self.addresses.iter_mut().find(|own| own.local == address.local && own.prefix_length == address.prefix_length) {
            own.lifetimes_s = address.lifetimes_s;
            own.flags = (own.flags & netlink::IFA_F_SECONDARY) | address.flags;
            own.times_ns[1] = clock::monotonic_ns();
            events.push(Event::AddressAdded(own.clone()));
        }
    }

    /// The routes that an address brings along.
    fn routes_of(&self, address: &Address) -> Vec<Route> {
        let network = address.network();
        let is_network = address.prefix_length < if network.is_ipv4() { 32 } else { 128 };
        let mut routes = Vec::new();
        match (address.local, network) {
            (IpAddr::V4(_), IpAddr::V4(network)) => {
                let primary = |other: &&Address| {
                    !other.is_secondary() && other.prefix_length == address.prefix_length && other.network() == address.network()
                };
                let source = self.addresses.iter().find(primary).map_or(address.local, |primary| primary.local);
                routes.push(local_route(address, Some(source)));
                let link = |destination, kind, scope, prefix_length| Route {
                    table: LOCAL_TABLE,
                    destination: IpAddr::V4(destination),
                    prefix_length,
                    kind,
                    scope,
                    protocol: BY_KERNEL,
                    priority: 0,
                    gateway: None,
                    preferred_source: Some(source),
                };
                routes.extend(address.broadcast.map(|broadcast| link(broadcast, RouteKind::Broadcast, LINK_SCOPE, 32)));
                if is_network && !address.is_secondary() && !network.is_unspecified() {
                    routes.push(link(network, RouteKind::Local, HOST_SCOPE, address.prefix_length));
                    if address.prefix_length < 31 {
                        let last = Ipv4Addr::from_bits(network.to_bits() | !routes::netmask(address.prefix_length));
                        routes.push(link(last, RouteKind::Broadcast, LINK_SCOPE, 32));
                    }
                }
            }
            _ => {
                routes.push(local_route(address, None));
                if is_network && address.flags & netlink::IFA_F_NOPREFIXROUTE == 0 {
                    let prefix_length = address.prefix_length;
                    routes.push(Route {
                        table: MAIN_TABLE,
                        destination: network,
                        prefix_length,
                        kind: RouteKind::Unicast,
                        scope: 0,
                        priority: V6_PREFIX_PRIORITY,
                        ..local_route(address, None)
                    });
                }
            }
        }
        routes
    }

    fn add_routes_of(&mut self, address: &Address, events: &mut Vec<Event>) {
        for route in self.routes_of(address) {
            self.add_route(route, events);
        }
    }

    fn remove_routes_of(&mut self, address: &Address, events: &mut Vec<Event>) {
        let gone = self.routes_of(address);
        // Another address may still bring the same route along.
        let kept: Vec<Route> = self.addresses.iter().flat_map(|other| self.routes_of(other)).collect();
        let is_kept = |route: &Route| kept.iter().any(|other| other.same_slot(route));
        self.remove_routes(events, |route| route.protocol == BY_KERNEL && gone.iter().any(|gone| gone.same_slot(route)) && !is_kept(route));
        // Routes with a source that is nobody's address any more.
        let local = address.local;
        let source_gone = !self.addresses.iter().any(|other| other.local == local);
        self.remove_routes(events, |route| source_gone && route.preferred_source == Some(local));
    }

    /// Adds a route unless its slot is taken.
    fn add_route(&mut self, route: Route, events: &mut Vec<Event>) {
        if !self.routes.iter().any(|other| other.same_slot(&route)) {
            self.note_table(&route);
            self.routes.push(route.clone());
            events.push(Event::RouteAdded(route));
        }
    }

    /// `RTM_NEWROUTE`. `EEXIST` if the slot is taken and may not be replaced, `ENOENT` if it is not and nothing may be made.
    pub fn insert_route(&mut self, route: Route, create: bool, exclusive: bool, replace: bool, events: &mut Vec<Event>) -> Result<()> {
        /// See `add_address`.
        const MAX_ROUTES: usize = 4096;
        match self.routes.iter().position(|other| other.same_slot(&route)) {
            Some(_) if exclusive || !replace => return Err(Errno::EXIST),
            Some(index) => self.routes[index] = route.clone(),
            None if !create => return Err(Errno::NOENT),
            None if self.routes.len() >= MAX_ROUTES => return Err(Errno::NOBUFS),
            None => self.routes.push(route.clone()),
        }
        self.note_table(&route);
        events.push(Event::RouteAdded(route));
        Ok(())
    }

    /// `RTM_DELROUTE`: the first that matches. `ESRCH` if none does.
    pub fn delete_route(&mut self, is_meant: impl Fn(&Route) -> bool, events: &mut Vec<Event>) -> Result<()> {
        let index = self.routes.iter().position(is_meant).ok_or(Errno::SRCH)?;
        let removed = self.routes.remove(index);
        events.push(Event::RouteRemoved(removed));
        Ok(())
    }

    /// Gives it another name: `EINVAL` for what is no name, `EBUSY` while it is up.
    pub fn rename(&mut self, name: &[u8], events: &mut Vec<Event>) -> Result<()> {
        if name == self.name {
            return Ok(());
        }
        let is_name = !name.is_empty() && name.len() <= NAME_MAX_BYTES && name != b"." && name != b"..";
        if !is_name || name.iter().any(|byte| matches!(byte, b'/' | b':') || byte.is_ascii_whitespace()) {
            return Err(Errno::INVAL);
        }
        if self.is_up() {
            return Err(Errno::BUSY);
        }
        self.name = name.to_vec();
        events.push(Event::Link(0));
        Ok(())
    }
}

/// The route that keeps packets for an address on this machine.
fn local_route(address: &Address, preferred_source: Option<IpAddr>) -> Route {
    let is_v4 = address.local.is_ipv4();
    Route {
        table: LOCAL_TABLE,
        destination: address.local,
        prefix_length: if is_v4 { 32 } else { 128 },
        kind: RouteKind::Local,
        scope: if is_v4 { HOST_SCOPE } else { 0 },
        protocol: BY_KERNEL,
        priority: 0,
        gateway: None,
        preferred_source,
    }
}

/// `ARPHRD_LOOPBACK` (`linux/if_arp.h`).
pub const HARDWARE_TYPE: u16 = 772;
const _: () = assert!(net::AF_INET == 2 && net::AF_INET6 == 10);

//! What an interface's driver says about itself: by ethtool its name, its queues and its offloads, and by the generic
//! netlink family netdev, from 6.3 on, what XDP it has.
#![expect(unsafe_code, reason = "the ioctl takes a pointer to a structure of a size that the command tells")]

use crate::kernel::calls::netlink::{Message, Socket, push_attribute, text, u16_at, u32_at};
use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, socket_with},
};
use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};

/// Commands of ethtool (`linux/ethtool.h`).
const ETHTOOL_GDRVINFO: u32 = 0x3;
const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETHTOOL_GSSET_INFO: u32 = 0x37;
const ETHTOOL_GFEATURES: u32 = 0x3a;
const ETHTOOL_GCHANNELS: u32 = 0x3c;
const ETH_SS_FEATURES: u32 = 4;
const ETH_GSTRING_LEN: usize = 32;
/// The ioctl that takes commands of ethtool (`linux/sockios.h`).
const SIOCETHTOOL: libc::Ioctl = 0x8946;

/// Generic netlink and its family netdev (`linux/genetlink.h`, `linux/netdev.h`).
const GENERIC_HEADER: usize = 4;
const GENL_ID_CTRL: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const NETDEV_CMD_DEV_GET: u8 = 1;
const NETDEV_A_DEV_IFINDEX: u16 = 1;
const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;
const NETDEV_XDP_ACT_BASIC: u32 = 1;
const NETDEV_XDP_ACT_RX_SG: u32 = 32;

/// A socket for questions to drivers. It is opened in the namespace of the interfaces. Their names are octets, as they
/// are not always text.
pub(crate) struct Ethtool(OwnedFd);

impl Ethtool {
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self(socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?))
    }

    /// The driver's name; None if the interface has no driver.
    pub(crate) fn driver(&self, interface: &[u8]) -> io::Result<Option<String>> {
        // struct ethtool_drvinfo: the command, five texts, twelve octets, five numbers.
        const NAME: usize = 32;
        let mut buffer = [0; (4 + 5 * NAME + 12 + 5 * 4) / 4];
        buffer[0] = ETHTOOL_GDRVINFO;
        if !self.ask(interface, &mut buffer)? {
            return Ok(None);
        }
        let octets = octets(&buffer[1..]);
        Ok(Some(text(&octets[..NAME])).filter(|name| !name.is_empty()))
    }

    /// How many queues there are for packets that come in, and for those that go out; None if the driver does not say.
    pub(crate) fn queues(&self, interface: &[u8]) -> io::Result<Option<(u32, u32)>> {
        // struct ethtool_channels: the command, the most of four kinds, and how many there are of them.
        let mut buffer = [0; 9];
        buffer[0] = ETHTOOL_GCHANNELS;
        if !self.ask(interface, &mut buffer)? {
            return Ok(None);
        }
        let [.., rx, tx, _other, combined] = buffer;
        Ok(Some((rx + combined, tx + combined)))
    }

    /// Whether each offload that this kernel knows is on, by the kernel's name for it.
    pub(crate) fn features(&self, interface: &[u8]) -> io::Result<BTreeMap<String, bool>> {
        let unsupported = || io::Error::from(Errno::OPNOTSUPP);
        // struct ethtool_sset_info: the command, a reserved word, a mask of 64 bits, a count for each bit.
        let mut info = [ETHTOOL_GSSET_INFO, 0, 1 << ETH_SS_FEATURES, 0, 0];
        // The mask is one number of 64 bits in the machine's order, here as two words.
        if cfg!(target_endian = "big") {
            info.swap(2, 3);
        }
        if !self.ask(interface, &mut info)? {
            return Err(unsupported());
        }
        let count = info[4];
        let len = usize::try_from(count).map_err(|_| unsupported())?;
        // struct ethtool_gstrings: the command, which set, how many, the texts.
        let mut names = vec![0; 3 + len * ETH_GSTRING_LEN / 4];
        names[..3].copy_from_slice(&[ETHTOOL_GSTRINGS, ETH_SS_FEATURES, count]);
        // struct ethtool_gfeatures: the command, how many words of each, the words: available, requested, active,
        // never to be changed.
        let words = len.div_ceil(32);
        let mut bits = vec![0; 2 + words * 4];
        bits[..2].copy_from_slice(&[ETHTOOL_GFEATURES, u32::try_from(words).map_err(|_| unsupported())?]);
        if !self.ask(interface, &mut names)? || !self.ask(interface, &mut bits)? {
            return Err(unsupported());
        }
        let names = octets(&names[3..]);
        let active = |n: usize| bits.get(2 + n / 32 * 4 + 2).is_some_and(|word| word >> (n % 32) & 1 == 1);
        let named = names.chunks_exact(ETH_GSTRING_LEN).enumerate().map(|(n, name)| (text(name), active(n)));
        Ok(named.filter(|(name, _)| !name.is_empty()).collect())
    }

    /// Runs the command whose number is the buffer's first word. Returns false if the driver does not support it.
    fn ask(&self, interface: &[u8], buffer: &mut [u32]) -> io::Result<bool> {
        let mut name = [0; libc::IFNAMSIZ];
        if interface.len() >= name.len() {
            return Err(Errno::NODEV.into());
        }
        for (to, from) in name.iter_mut().zip(interface.iter().copied()) {
            // c_char is signed or not, depending on the architecture.
            *to = libc::c_char::from_ne_bytes([from]);
        }
        let mut request = libc::ifreq {
            ifr_name: name,
            ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_data: buffer.as_mut_ptr().cast() },
        };
        // SAFETY: the kernel reads and writes no more than the structure of the command, and each caller's buffer is as
        // large as that, with the parts of variable length that its own words tell (net/ethtool/ioctl.c).
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
        if result >= 0 {
            return Ok(true);
        }
        let error = io::Error::last_os_error();
        match Errno::from_io_error(&error) {
            Some(Errno::OPNOTSUPP) => Ok(false),
            _ => Err(error),
        }
    }
}

fn octets(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// What XDP a driver has, as it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NativeXdp {
    /// Whether programs can run in the driver.
    pub(crate) has: bool,
    /// Whether packets may be in several pieces, so that the MTU is no limit. Only programs that can handle pieces
    /// profit.
    pub(crate) pieces: bool,
}

/// Asks the kernel what XDP an interface's driver has; None before 6.3, where the kernel does not tell.
pub(crate) fn native_xdp(index: u32) -> io::Result<Option<NativeXdp>> {
    let socket = Socket::generic()?;
    let generic = |command: u8, kind: u16, value: &[u8]| {
        let mut body = vec![command, 1, 0, 0];
        push_attribute(&mut body, kind, value);
        body
    };
    let family =
        match socket.ask(GENL_ID_CTRL, &generic(CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_NAME, b"netdev\0")) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NOENT) => return Ok(None),
            answer => answer?,
        };
    let Some(family) = number(&family, CTRL_ATTR_FAMILY_ID).and_then(|id| u16_at(id, 0)) else {
        return Ok(None);
    };
    let request = generic(NETDEV_CMD_DEV_GET, NETDEV_A_DEV_IFINDEX, &index.to_ne_bytes());
    let device = socket.ask(family, &request)?;
    // The features are 64 bits, of which those that matter are in the lower half.
    let Some(features) = number(&device, NETDEV_A_DEV_XDP_FEATURES).and_then(low_half) else {
        return Ok(None);
    };
    Ok(Some(NativeXdp {
        has: features & NETDEV_XDP_ACT_BASIC != 0,
        pieces: features & NETDEV_XDP_ACT_RX_SG != 0,
    }))
}

fn number(messages: &[Message], kind: u16) -> Option<&[u8]> {
    messages.iter().find_map(|message| message.attribute(GENERIC_HEADER, kind))
}

fn low_half(value: &[u8]) -> Option<u32> {
    u32_at(value, if cfg!(target_endian = "big") { 4 } else { 0 })
}

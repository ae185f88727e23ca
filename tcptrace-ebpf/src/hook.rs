//! The hooks at which the kernel shows packets to the programs, each with its way to read a packet's bytes.

use crate::maps;
use aya_ebpf::{
    EbpfContext,
    bindings::{__sk_buff, xdp_md},
    check_bounds_signed,
    helpers::generated::bpf_skb_load_bytes,
    programs::{TcContext, XdpContext},
};
use tcptrace_common::{
    record::Sighting,
    wire::{Header, Link, Load, Receive, copy_words, parse_to},
};

/// A packet at a hook.
pub(crate) trait Hook: Copy {
    /// The type of the context that aya has.
    type Context: EbpfContext;
    /// The type of the same packet with all its bytes within reach, and with rare headers parsed.
    type Whole: Hook;
    /// The type of the access to the packet's bytes.
    type Bytes: Reach;

    fn context(self) -> Self::Context;
    fn whole(self) -> Self::Whole;
    fn bytes(self) -> Self::Bytes;
    fn sighting(self) -> Sighting;

    /// The number of the network namespace that the packet is in.
    #[inline(always)]
    fn netns(self) -> u16 {
        maps::netns()
    }

    /// The packet, if it is on its way out and so may refer to the socket that sent it.
    #[inline(always)]
    fn outgoing(self) -> Option<*mut __sk_buff> {
        None
    }

    /// The packet, if a helper of the kernel copies any of its bytes.
    #[inline(always)]
    fn skb(self) -> Option<*mut __sk_buff> {
        None
    }

    /// Parses the packet as far as [`Hook::bytes`] reaches, and returns what `to` makes of it.
    fn parse_to<R: Receive>(self, to: R) -> R::Made;
}

/// Access to bytes of a packet, which may not reach all of them.
pub(crate) trait Reach: Load {
    /// Whether some bytes of the packet are out of reach.
    fn is_partial(&self) -> bool;
}

/// A packet at a TC hook, of which only the linear part is read: the headers are nearly always in it. With `L3` the
/// device has no link header.
#[derive(Clone, Copy)]
pub(crate) struct Tc<const EGRESS: bool, const L3: bool>(pub(crate) *mut __sk_buff);

/// A packet at a TC hook, whose headers may lie outside the linear part.
#[derive(Clone, Copy)]
pub(crate) struct TcAnywhere<const EGRESS: bool, const L3: bool>(pub(crate) *mut __sk_buff);

/// A packet at an XDP hook. XDP sees only packets that come in, and here only those of Ethernet devices. With `RARE`
/// rare headers are parsed.
#[derive(Clone, Copy)]
pub(crate) struct Xdp<const RARE: bool>(pub(crate) *mut xdp_md);

impl<const EGRESS: bool, const L3: bool> Tc<EGRESS, L3> {
    /// Takes the namespace's number away again from beside the packet. A program behind ours might read it, and if the
    /// next TCX program passes the packet on, the kernel puts it into the packet's `tc_index` (net/core/dev.c,
    /// `tcx_action_code`).
    #[inline(always)]
    pub(crate) fn clear_number(self) {
        if maps::is_shared() {
            // SAFETY: the context is valid while the program runs, and ours to write to.
            unsafe { (*self.0).tc_classid = 0 };
        }
    }
}

impl<const EGRESS: bool, const L3: bool> Hook for Tc<EGRESS, L3> {
    type Context = TcContext;
    type Whole = TcAnywhere<EGRESS, L3>;
    type Bytes = Linear<false>;

    #[inline(always)]
    fn context(self) -> TcContext {
        TcContext::new(self.0)
    }

    #[inline(always)]
    fn whole(self) -> Self::Whole {
        TcAnywhere(self.0)
    }

    #[inline(always)]
    fn bytes(self) -> Linear<false> {
        linear(&self.context())
    }

    #[inline(always)]
    fn sighting(self) -> Sighting {
        sighting(self.0, EGRESS)
    }

    #[inline(always)]
    fn skb(self) -> Option<*mut __sk_buff> {
        Some(self.0)
    }

    #[inline(always)]
    fn outgoing(self) -> Option<*mut __sk_buff> {
        if EGRESS { Some(self.0) } else { None }
    }

    #[inline(always)]
    fn netns(self) -> u16 {
        netns(self.0)
    }

    #[inline(always)]
    fn parse_to<R: Receive>(self, to: R) -> R::Made {
        parse_to(&self.bytes(), link(L3), offloaded_vlan(self.0), to)
    }
}

impl<const EGRESS: bool, const L3: bool> Hook for TcAnywhere<EGRESS, L3> {
    type Context = TcContext;
    type Whole = Self;
    type Bytes = Anywhere;

    #[inline(always)]
    fn context(self) -> TcContext {
        TcContext::new(self.0)
    }

    #[inline(always)]
    fn whole(self) -> Self::Whole {
        TcAnywhere(self.0)
    }

    #[inline(always)]
    fn bytes(self) -> Anywhere {
        Anywhere { skb: self.0, len: self.context().len() as usize }
    }

    #[inline(always)]
    fn sighting(self) -> Sighting {
        sighting(self.0, EGRESS)
    }

    #[inline(always)]
    fn skb(self) -> Option<*mut __sk_buff> {
        Some(self.0)
    }

    #[inline(always)]
    fn outgoing(self) -> Option<*mut __sk_buff> {
        if EGRESS { Some(self.0) } else { None }
    }

    #[inline(always)]
    fn netns(self) -> u16 {
        netns(self.0)
    }

    #[inline(always)]
    fn parse_to<R: Receive>(self, to: R) -> R::Made {
        parse_to(&self.bytes(), link(L3), offloaded_vlan(self.0), to)
    }
}

impl<const RARE: bool> Hook for Xdp<RARE> {
    type Context = XdpContext;
    type Whole = Xdp<true>;
    type Bytes = Linear<RARE>;

    #[inline(always)]
    fn context(self) -> XdpContext {
        XdpContext::new(self.0)
    }

    #[inline(always)]
    fn whole(self) -> Self::Whole {
        Xdp(self.0)
    }

    #[inline(always)]
    fn bytes(self) -> Linear<RARE> {
        let context = self.context();
        let (data, data_end) = (context.data(), context.data_end());
        Linear { data, data_end, len: data_end - data }
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "a device index has 32 bits")]
    fn sighting(self) -> Sighting {
        Sighting { ifindex: self.context().ingress_ifindex() as u32, egress: false, forwarded: false }
    }

    #[inline(always)]
    fn parse_to<R: Receive>(self, to: R) -> R::Made {
        parse_to(&self.bytes(), Link::Ethernet, None, to)
    }
}

#[inline(always)]
const fn link(l3: bool) -> Link {
    if l3 { Link::Ip } else { Link::Ethernet }
}

/// Access to the linear part of a packet.
#[inline(always)]
fn linear<const RARE: bool>(context: &TcContext) -> Linear<RARE> {
    Linear { data: context.data(), data_end: context.data_end(), len: context.len() as usize }
}

#[inline(always)]
fn sighting(skb: *mut __sk_buff, egress: bool) -> Sighting {
    // SAFETY: the context is valid while the program runs.
    let ifindex = unsafe { (*skb).ifindex };
    // SAFETY: the context is valid while the program runs.
    let came_in = unsafe { (*skb).ingress_ifindex };
    Sighting { ifindex, egress, forwarded: egress && came_in != 0 }
}

/// The number of the namespace that a packet is in. Programs that several namespaces share find it beside the packet,
/// where our filter on clsact or a gate has put it (`kernel/load/gates.rs`).
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the kernel keeps 16 bits")]
fn netns(skb: *mut __sk_buff) -> u16 {
    if !maps::is_shared() {
        return maps::netns();
    }
    // SAFETY: the context is valid while the program runs.
    let number = unsafe { (*skb).tc_classid };
    number as u16
}

/// The tag control information of the VLAN tag that the device or the stack took off a packet.
#[inline(always)]
fn offloaded_vlan(skb: *mut __sk_buff) -> Option<u16> {
    // SAFETY: the context is valid while the program runs.
    let present = unsafe { (*skb).vlan_present };
    if present == 0 {
        return None;
    }
    // SAFETY: the context is valid while the program runs.
    let tci = unsafe { (*skb).vlan_tci };
    #[expect(clippy::cast_possible_truncation, reason = "16 bits by IEEE 802.1Q")]
    Some(tci as u16)
}

/// Direct access to the part of a packet that the kernel keeps in one piece.
#[derive(Clone, Copy)]
pub(crate) struct Linear<const RARE: bool> {
    data: usize,
    data_end: usize,
    /// Octets of the whole packet, also of the parts that are elsewhere.
    len: usize,
}

impl<const RARE: bool> Reach for Linear<RARE> {
    #[inline(always)]
    fn is_partial(&self) -> bool {
        self.len > self.data_end - self.data
    }
}

impl Reach for Anywhere {
    #[inline(always)]
    fn is_partial(&self) -> bool {
        false
    }
}

impl<const RARE: bool> Load for Linear<RARE> {
    const RARE: bool = RARE;

    type Header<const N: usize> = Within<N>;

    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<Within<N>> {
        let at = self.data + offset;
        if at + N > self.data_end { None } else { Some(Within(at)) }
    }

    #[inline(always)]
    fn wire_len(&self) -> usize {
        self.len
    }

    #[inline(always)]
    fn forget(&self, n: usize) -> usize {
        maps::forget(n)
    }

    #[inline(always)]
    fn decap(&self, place: usize) -> u32 {
        maps::decap(place)
    }
}

/// The address of `N` bytes of the packet within direct reach. They are read where they lie.
#[derive(Clone, Copy)]
pub(crate) struct Within<const N: usize>(usize);

impl<const N: usize> Within<N> {
    #[inline(always)]
    fn read<T>(self, at: usize) -> T {
        assert!(at + size_of::<T>() <= N);
        // SAFETY: these bytes lie before the packet's end, as the verifier proves again, and nothing here moves a
        // packet while it is looked at; only integers are read, for which any bytes will do.
        unsafe { ((self.0 + at) as *const T).read_unaligned() }
    }
}

impl<const N: usize> Header for Within<N> {
    #[inline(always)]
    fn byte(self, at: usize) -> u8 {
        self.read(at)
    }

    #[inline(always)]
    fn raw16(self, at: usize) -> u16 {
        self.read(at)
    }

    #[inline(always)]
    fn raw32(self, at: usize) -> u32 {
        self.read(at)
    }
}

/// Octets of options in the SYNs of most stacks: a maximum segment size, SACK permitted, timestamps and a window scale,
/// made up to a whole number of words.
const USUAL_OPTIONS: usize = 20;

/// Access to bytes anywhere in a packet, by a helper of the kernel. It is slower than direct access, and moves no bytes
/// of the packet.
#[derive(Clone, Copy)]
pub(crate) struct Anywhere {
    skb: *mut __sk_buff,
    len: usize,
}

impl Load for Anywhere {
    type Header<const N: usize> = [u8; N];

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "offsets within headers")]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        const { assert!(N <= maps::HEADER_AREA) };
        let area = maps::header_area()?;
        // SAFETY: the context is the program's own, and the area has room for N bytes.
        let result = unsafe { bpf_skb_load_bytes(self.skb.cast(), offset as u32, area.cast(), N as u32) };
        if result != 0 {
            return None;
        }
        // SAFETY: the kernel filled N bytes of the area, which nothing else on this CPU uses meanwhile; an array of
        // bytes has no alignment.
        Some(unsafe { area.cast::<[u8; N]>().read() })
    }

    #[inline(always)]
    fn wire_len(&self) -> usize {
        self.len
    }

    /// Copies by one call of the helper for all bytes. The usual options are copied directly if they lie within direct
    /// reach, which costs less.
    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        reason = "offsets and lengths within headers"
    )]
    fn copy<const N: usize>(&self, offset: usize, len: usize, to: &mut [u8; N]) -> usize {
        // The bounds are checked in a form that the verifier of 5.10 remembers. It refuses to copy no bytes, and does
        // not remember that a length is not 0 (kernel/bpf/verifier.c, reg_set_min_max).
        if !check_bounds_signed(len as i64, 1, N as i64) {
            return 0;
        }
        if len == USUAL_OPTIONS
            && let Some(bytes) = linear::<true>(&TcContext::new(self.skb)).load::<USUAL_OPTIONS>(offset)
        {
            for (word, to) in to[..USUAL_OPTIONS].as_chunks_mut::<4>().0.iter_mut().enumerate() {
                *to = bytes.raw32(word * 4).to_ne_bytes();
            }
            return len;
        }
        // SAFETY: the context is the program's own, and there is room for N bytes.
        let result =
            unsafe { bpf_skb_load_bytes(self.skb.cast(), offset as u32, to.as_mut_ptr().cast(), len as u32) };
        if result == 0 { len } else { copy_words(self, offset, len, to) }
    }

    #[inline(always)]
    fn forget(&self, n: usize) -> usize {
        maps::forget(n)
    }

    #[inline(always)]
    fn decap(&self, place: usize) -> u32 {
        maps::decap(place)
    }
}

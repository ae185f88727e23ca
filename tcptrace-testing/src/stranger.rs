//! Programs of others: each says one word to every packet, under any name, and the kernel counts how often.

use crate::netns::Netns;
use aya::{
    Ebpf,
    programs::{
        CgroupSockAddr, LinkOrder, ProgramInfo, SchedClassifier, TcAttachType, Xdp, XdpMode, loaded_links,
        tc::{NlOptions, TcAttachOptions},
    },
};
use object::{
    Architecture, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind, SymbolScope,
    write::{Object, Symbol, SymbolSection},
};
use std::process::Command;

/// A program that is loaded, and attached until it is dropped.
pub struct Stranger {
    ebpf: Ebpf,
    name: &'static str,
}

impl Stranger {
    /// For TC. `TC_ACT_OK` is 0, `TC_ACT_UNSPEC` -1.
    pub fn tc(name: &'static str, verdict: i32) -> Self {
        let mut stranger = Self::load("classifier", name, verdict);
        stranger.classifier().load().expect("the verifier likes it");
        stranger
    }

    /// For XDP. `XDP_PASS` is 2.
    pub fn xdp(name: &'static str, verdict: i32) -> Self {
        let mut stranger = Self::load("xdp", name, verdict);
        stranger.as_xdp().load().expect("the verifier likes it");
        stranger
    }

    /// For TC: puts a VLAN tag beside each packet, or takes it off, and passes it on.
    pub fn tagger(name: &'static str, tag: Option<u16>) -> Self {
        const PUSH: i32 = 18;
        const POP: i32 = 19;
        let call = |helper| instruction(0x85, 0, helper);
        let mut code = match tag {
            Some(tag) => {
                let protocol = u16::from_ne_bytes(0x8100_u16.to_be_bytes());
                vec![instruction(0xb7, 2, protocol.into()), instruction(0xb7, 3, tag.into()), call(PUSH)]
            }
            None => vec![call(POP)],
        };
        // TC_ACT_UNSPEC.
        code.push(instruction(0xb7, 0, -1));
        let ebpf = Ebpf::load(&elf("classifier", name, code)).expect("an object of one program");
        let mut stranger = Self { ebpf, name };
        stranger.classifier().load().expect("the verifier likes it");
        stranger
    }

    /// For the hook of cgroups at `connect(2)` to an address of IPv4: lets every process connect.
    pub fn connect4(name: &'static str) -> Self {
        let mut stranger = Self::load("cgroup/connect4", name, 1);
        let program = stranger.ebpf.program_mut(name).expect("there");
        let program: &mut CgroupSockAddr = program.try_into().expect("a program for addresses");
        program.load().expect("the verifier likes it");
        stranger
    }

    /// Takes the hook of a cgroup, by its folder, so that no other program can be attached there. It is free again with the cgroup.
    pub fn take_hook(&self, cgroup: &str) {
        let id = self.info().id().to_string();
        let done = Command::new("bpftool").args(["cgroup", "attach", cgroup, "connect4", "id", &id]).status();
        assert!(done.expect("bpftool runs").success(), "{cgroup} has no program there");
    }

    fn load(section: &str, name: &'static str, verdict: i32) -> Self {
        let code = vec![instruction(0xb7, 0, verdict)];
        let ebpf = Ebpf::load(&elf(section, name, code)).expect("an object of one program");
        Self { ebpf, name }
    }

    fn classifier(&mut self) -> &mut SchedClassifier {
        self.ebpf.program_mut(self.name).expect("there").try_into().expect("a classifier")
    }

    fn as_xdp(&mut self) -> &mut Xdp {
        self.ebpf.program_mut(self.name).expect("there").try_into().expect("an XDP program")
    }

    /// By a TCX link, behind those that are there.
    pub fn link(&mut self, ns: &Netns, device: &str, side: TcAttachType) {
        self.link_at(LinkOrder::default(), ns, device, side);
    }

    /// By a TCX link, before those that are there.
    pub fn link_first(&mut self, ns: &Netns, device: &str, side: TcAttachType) {
        self.link_at(LinkOrder::first(), ns, device, side);
    }

    fn link_at(&mut self, order: LinkOrder, ns: &Netns, device: &str, side: TcAttachType) {
        let order = TcAttachOptions::TcxOrder(order);
        ns.enter(|| self.classifier().attach_with_options(device, side, order)).expect("it attaches");
    }

    /// As a filter on clsact, which stays. Of priority 0 the kernel chooses one.
    pub fn filter(&mut self, ns: &Netns, device: &str, side: TcAttachType, priority: u16) {
        let options = TcAttachOptions::Netlink(NlOptions { priority, ..NlOptions::default() });
        let program = self.classifier();
        let id = ns.enter(|| program.attach_with_options(device, side, options)).expect("it attaches");
        std::mem::forget(program.take_link(id).expect("it was just made"));
    }

    /// By an XDP link.
    pub fn link_xdp(&mut self, ns: &Netns, device: &str, mode: XdpMode) {
        ns.enter(|| self.as_xdp().attach(device, mode)).expect("it attaches");
    }

    /// What the kernel says of it.
    pub fn info(&self) -> ProgramInfo {
        self.ebpf.program(self.name).expect("there").info().expect("it is loaded")
    }

    /// How many packets it has seen while the kernel kept statistics.
    pub fn runs(&self) -> u64 {
        self.info().run_count()
    }
}

/// Detaches the link of a program that is somebody else's, by the kernel's number of the program, which has one link. Its maker
/// keeps the link, which holds nothing any more.
pub fn detach(program: u32) {
    let links: Vec<_> = loaded_links().filter_map(Result::ok).collect();
    let of_it: Vec<_> = links.iter().filter(|link| link.program_id() == program).collect();
    let [link] = of_it[..] else { panic!("program {program} has {} links", of_it.len()) };
    let done = Command::new("bpftool").args(["link", "detach", "id", &link.id().to_string()]).status();
    assert!(done.expect("bpftool runs").success(), "link {} is detached", link.id());
}

/// An instruction by its code (0xb7 is `mov64 register, immediate`), as `struct bpf_insn` has it.
fn instruction(code: u8, register: u8, immediate: i32) -> [u8; 8] {
    let [a, b, c, d] = immediate.to_le_bytes();
    [code, register, 0, 0, a, b, c, d]
}

/// An object with one program, which ends after these instructions.
fn elf(section: &str, name: &str, mut code: Vec<[u8; 8]>) -> Vec<u8> {
    // exit
    code.push(instruction(0x95, 0, 0));
    let code = code.concat();
    let mut object = Object::new(BinaryFormat::Elf, Architecture::Bpf, Endianness::Little);
    let text = object.add_section(Vec::new(), section.into(), SectionKind::Text);
    object.append_section_data(text, &code, 8);
    object.add_symbol(Symbol {
        name: name.into(),
        value: 0,
        size: code.len() as u64,
        kind: SymbolKind::Text,
        scope: SymbolScope::Dynamic,
        weak: false,
        section: SymbolSection::Section(text),
        flags: SymbolFlags::None,
    });
    let license = object.add_section(Vec::new(), b"license".to_vec(), SectionKind::Data);
    object.append_section_data(license, b"GPL\0", 1);
    object.write().expect("an object of two sections")
}

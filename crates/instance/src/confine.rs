//! What processes of an instance may not do, though they are root.
//!
//! Root mode has no user namespace: uid 0 in an instance is uid 0. What keeps it in are the namespaces,
//! the capabilities that are gone from the bounding set for good (`CAP_SYS_ADMIN`, `CAP_DAC_READ_SEARCH`,
//! `CAP_MKNOD`, `CAP_SYS_PTRACE` ...), a system call filter for what a capability does not guard, and
//! mounts that hold neither devices nor writable kernel settings. `no_new_privs` stays off, so `sudo`
//! and `ping` work; that is why the filter is loaded while `CAP_SYS_ADMIN` is still there.
//!
//! Nodes of clusters have a user namespace instead ([`crate::node`]): their capabilities count for what belongs to that
//! namespace, and for nothing of the host. Their filter lets them mount and make namespaces, as runtimes of containers do.

use std::io;

use lath_feed::InstanceKind;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities,
};

/// What root in an instance keeps: files, users, every port and raw packets.
///
/// Not `CAP_NET_ADMIN`: it counts for every network namespace of the same user namespace, and a link's
/// peer gives the instance a number by which rtnetlink lets it change the peer's namespace too, that is
/// the VPC's router, and by the router's uplink the host's. Not `CAP_NET_BROADCAST`: it hears what
/// changes there. The fabric sets up an instance's links, addresses and routes from outside.
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::IPC_LOCK)
    .union(CapabilitySet::IPC_OWNER)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::LEASE)
    .union(CapabilitySet::AUDIT_WRITE);

/// Confines the calling, single-threaded process and all that it will start.
pub(crate) fn confine(kind: InstanceKind) -> io::Result<()> {
    // Else root in the instance could open /proc/PID/exe of this process, which is Lath's own binary
    // on the host, and write to it once nothing executes it. Without CAP_SYS_PTRACE no process in the
    // instance may look into one that is not dumpable; exec makes children dumpable again. In a user namespace
    // below that of this binary it does not count.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    filter::load(kind)?;
    match kind {
        InstanceKind::Ordinary => drop_capabilities()?,
        InstanceKind::Node => clear_ambient_capability_set()?,
    }
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

fn drop_capabilities() -> io::Result<()> {
    clear_ambient_capability_set()?;
    for bit in 0..64 {
        let one = CapabilitySet::from_bits_retain(1 << bit);
        // An error means that the kernel has no capability of this number, nor any above.
        let Ok(present) = capability_is_in_bounding_set(one) else {
            break;
        };
        if present && !KEPT.contains(one) {
            remove_capability_from_bounding_set(one)?;
        }
    }
    let held = rustix::thread::capabilities(None)?.permitted & KEPT;
    let sets = CapabilitySets {
        effective: held,
        permitted: held,
        inheritable: CapabilitySet::empty(),
    };
    Ok(set_capabilities(None, sets)?)
}

mod filter {
    //! A classic BPF program over the system call's number and arguments.

    use std::io;

    use lath_feed::InstanceKind;
    use libc::{
        BPF_ABS, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W,
        SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, sock_filter, sock_fprog,
    };

    /// Answer EPERM in ordinary instances: other namespaces and mounts, and what runtimes of containers need with them.
    const NOT_IN_ORDINARY: &[libc::c_long] = &[
        libc::SYS_setns,
        libc::SYS_unshare,
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_pivot_root,
        libc::SYS_move_mount,
        libc::SYS_open_tree,
        libc::SYS_fsopen,
        libc::SYS_fsconfig,
        libc::SYS_fsmount,
        libc::SYS_fspick,
        libc::SYS_mount_setattr,
        libc::SYS_name_to_handle_at,
        // Keyrings are not namespaced for one uid; that of a node's root is its own.
        libc::SYS_keyctl,
    ];

    /// Answer EPERM everywhere. What needs a capability that is gone anyway is here as a second wall.
    const DENIED: &[libc::c_long] = &[
        // Files by handle reach everything on the same host file system.
        libc::SYS_open_by_handle_at,
        // The kernel's own workings.
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_kexec_load,
        libc::SYS_init_module,
        libc::SYS_finit_module,
        libc::SYS_delete_module,
        libc::SYS_reboot,
        libc::SYS_swapon,
        libc::SYS_swapoff,
        libc::SYS_acct,
        libc::SYS_quotactl,
        libc::SYS_syslog,
        libc::SYS_vhangup,
        libc::SYS_settimeofday,
        libc::SYS_clock_settime,
        libc::SYS_userfaultfd,
        // Its operations would pass by this filter.
        libc::SYS_io_uring_setup,
        libc::SYS_io_uring_enter,
        libc::SYS_io_uring_register,
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_kexec_file_load,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_iopl,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_ioperm,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_modify_ldt,
    ];

    const NEW_NAMESPACES: u32 = (libc::CLONE_NEWNS
        | libc::CLONE_NEWCGROUP
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWTIME)
        .cast_unsigned();
    const EPERM: u32 = SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned();
    const ENOSYS: u32 = SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();

    #[cfg(target_arch = "x86_64")]
    const ARCHITECTURE: u32 = 0xc000_003e;
    #[cfg(target_arch = "aarch64")]
    const ARCHITECTURE: u32 = 0xc000_00b7;
    /// x86-64's second set of numbers for the same calls starts here.
    const X32: u32 = 0x4000_0000;

    /// Offsets in `struct seccomp_data`; arguments are 64 bits, their lower half first.
    const NUMBER: u32 = 0;
    const ARCH: u32 = 4;
    const fn argument(index: u32) -> u32 {
        16 + 8 * index
    }

    fn statement(code: u32, k: u32) -> sock_filter {
        jump(code, k, 0, 0)
    }

    fn jump(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
        let code = u16::try_from(code).expect("BPF codes are below 256");
        sock_filter { code, jt, jf, k }
    }

    fn load_word(offset: u32) -> sock_filter {
        statement(BPF_LD | BPF_W | BPF_ABS, offset)
    }

    fn give(verdict: u32) -> sock_filter {
        statement(BPF_RET | BPF_K, verdict)
    }

    fn number(call: libc::c_long) -> u32 {
        u32::try_from(call).expect("system call numbers are small")
    }

    /// `call` gets `verdict` when `test` holds for the lower half of an argument.
    fn when(call: libc::c_long, index: u32, test: (u32, u32), verdict: u32) -> [sock_filter; 5] {
        [
            jump(BPF_JMP | BPF_JEQ | BPF_K, number(call), 0, 4),
            load_word(argument(index)),
            jump(BPF_JMP | test.0 | BPF_K, test.1, 0, 1),
            give(verdict),
            load_word(NUMBER),
        ]
    }

    fn always(call: libc::c_long, verdict: u32) -> [sock_filter; 2] {
        [
            jump(BPF_JMP | BPF_JEQ | BPF_K, number(call), 0, 1),
            give(verdict),
        ]
    }

    fn program(kind: InstanceKind) -> Vec<sock_filter> {
        let mut program = vec![
            load_word(ARCH),
            jump(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0),
            give(ENOSYS),
            load_word(NUMBER),
            jump(BPF_JMP | BPF_JGE | BPF_K, X32, 0, 1),
            give(ENOSYS),
        ];
        for &call in DENIED {
            program.extend(always(call, EPERM));
        }
        if kind == InstanceKind::Ordinary {
            for &call in NOT_IN_ORDINARY {
                program.extend(always(call, EPERM));
            }
            // Its flags hide behind a pointer; libc falls back to clone.
            program.extend(always(libc::SYS_clone3, ENOSYS));
            program.extend(when(libc::SYS_clone, 0, (BPF_JSET, NEW_NAMESPACES), EPERM));
        }
        let vsock = number(libc::AF_VSOCK.into());
        let (tiocsti, tioclinux) = (number(libc::TIOCSTI as _), number(libc::TIOCLINUX as _));
        // Reaches the hypervisor from any network namespace.
        program.extend(when(libc::SYS_socket, 0, (BPF_JEQ, vsock), EPERM));
        // Types on a terminal that others read.
        program.extend(when(libc::SYS_ioctl, 1, (BPF_JEQ, tiocsti), EPERM));
        program.extend(when(libc::SYS_ioctl, 1, (BPF_JEQ, tioclinux), EPERM));
        program.push(give(SECCOMP_RET_ALLOW));
        program
    }

    /// Loads the filter. Needs `CAP_SYS_ADMIN`, because `no_new_privs` is not set.
    #[expect(
        unsafe_code,
        reason = "no safe wrapper loads a filter without no_new_privs"
    )]
    pub(super) fn load(kind: InstanceKind) -> io::Result<()> {
        let mut program = program(kind);
        let length = u16::try_from(program.len()).expect("the program is short");
        let whole = sock_fprog {
            len: length,
            filter: program.as_mut_ptr(),
        };
        // SAFETY: the kernel copies `len` instructions from `filter`, both of which outlive the call.
        let answer = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                0,
                &raw const whole,
            )
        };
        if answer == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

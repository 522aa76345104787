//! The path of an open file, up to the root of its mount namespace.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use tracer_common::{
    event::{self, TEXT},
    limits,
};

use crate::{
    events::emit::Record,
    kernel::{
        constants::{
            DENTRY_NAME, DENTRY_PARENT, MOUNT_MNT, MOUNT_PARENT, MOUNT_POINT, VFSMOUNT_ROOT,
        },
        kread::Kptr,
    },
};

/// Maximum number of steps upwards: components plus mount crossings.
const STEPS: u32 = 40;
/// `NAME_MAX` plus NUL (`include/uapi/linux/limits.h`).
const NAME: u32 = 256;

/// Appends the names from `dentry` upwards to the record's text, each terminated by NUL. If the path does not
/// fit or has too many components, the components nearest to the root are missing and the text is marked as
/// truncated.
#[inline(always)]
pub(super) fn components(dentry: Kptr, vfsmount: Kptr, record: &mut Record<event::Object>) {
    let mut dentry = dentry;
    let mut vfsmount = vfsmount;
    record.payload.text_kind = event::text::CUT_COMPONENTS;
    for _ in 0..STEPS {
        let Some(root) = vfsmount.follow(&VFSMOUNT_ROOT) else { break };
        if dentry.0 == root.0 {
            // `container_of(vfsmount, struct mount, mnt)`, fs/mount.h.
            let mount = Kptr(vfsmount.0.wrapping_sub(MOUNT_MNT.load()));
            let Some(parent) = mount.follow(&MOUNT_PARENT) else { break };
            let Some(point) = mount.follow(&MOUNT_POINT) else { break };
            if parent.0 == mount.0 {
                record.payload.text_kind = event::text::COMPONENTS;
                break;
            }
            dentry = point;
            vfsmount = parent.at(&MOUNT_MNT);
            continue;
        }
        let Some(name) = dentry.follow(&DENTRY_NAME) else { break };
        if !append(name, record) {
            break;
        }
        let Some(parent) = dentry.follow(&DENTRY_PARENT) else { break };
        if parent.0 == dentry.0 {
            record.payload.text_kind = event::text::COMPONENTS;
            break;
        }
        dentry = parent;
    }
}

/// Appends one name. The length is in the record, not in a register: the verifier does not track values
/// loaded from a map, so that all iterations of the loop have the same state.
#[inline(always)]
fn append(name: Kptr, record: &mut Record<event::Object>) -> bool {
    let used = record.text_len() as usize & (limits::PATH - 1);
    if used > limits::PATH - NAME as usize {
        return false;
    }
    // SAFETY: `used` is at most PATH - NAME, so NAME bytes at it are inside the text; the helper
    // checks the source.
    let length = unsafe {
        bpf_probe_read_kernel_str(
            record.text.as_mut_ptr().add(used).cast(),
            NAME,
            name.0 as *const _,
        )
    };
    if length <= 0 {
        return false;
    }
    record.set_text_len((used + length as usize) as u32);
    true
}

const _: () = assert!(limits::PATH.is_power_of_two() && limits::PATH <= TEXT);

//! How much a thread's work matters to the kernel.

/// `IOPRIO_WHO_PROCESS` of `linux/ioprio.h`: one thread.
const WHO_THREAD: libc::c_int = 1;
/// Shift of the class in an I/O priority, and the classes, as `linux/ioprio.h` has them.
const CLASS_SHIFT: u32 = 13;
const CLASS_NONE: libc::c_int = 0;
const CLASS_IDLE: libc::c_int = 3;

/// Lets the calling thread run only while nobody else wants the processor, and its reads wait for those of others where
/// the disk's scheduler knows classes. False when the processor's part of that is not to be had.
///
/// On a machine whose processors are all busy, such a thread gets a few thousandths of one.
pub fn idle() -> bool {
    set(libc::SCHED_IDLE, CLASS_IDLE)
}

/// Takes [`idle`] back. False when it is not permitted: without the rights of root or a raised `RLIMIT_NICE`, a thread
/// stays idle.
pub fn ordinary() -> bool {
    set(libc::SCHED_OTHER, CLASS_NONE)
}

/// How nice the calling thread is to others: -20 goes before all, 19 after all.
pub fn nice() -> i32 {
    rustix::process::getpriority_process(None).unwrap_or(0)
}

/// Makes the calling thread, and those that it starts from then on, that nice. False when it is not permitted: to be less
/// nice takes the rights of root or a raised `RLIMIT_NICE`.
pub fn set_nice(nice: i32) -> bool {
    rustix::process::setpriority_process(None, nice).is_ok()
}

#[allow(unsafe_code, reason = "neither call has a safe wrapper")]
fn set(policy: libc::c_int, class: libc::c_int) -> bool {
    // SAFETY: numbers only; 0 is the calling thread. That it may fail (a sandbox) is of no consequence.
    unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_THREAD, 0, class << CLASS_SHIFT) };
    // SAFETY: `sched_param` is a plain number or a struct of numbers, for which zeroes are valid, and zero is the only
    // priority of these policies.
    let param: libc::sched_param = unsafe { std::mem::zeroed() };
    // SAFETY: 0 is the calling thread, and the parameter outlives the call.
    unsafe { libc::sched_setscheduler(0, policy, &raw const param) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(unsafe_code, reason = "the kernel is asked")]
    fn policy_and_class() -> (libc::c_int, libc::c_long) {
        // SAFETY: numbers only; 0 is the calling thread.
        unsafe {
            let class = libc::syscall(libc::SYS_ioprio_get, WHO_THREAD, 0) >> CLASS_SHIFT;
            (libc::sched_getscheduler(0), class)
        }
    }

    #[test]
    fn a_thread_alone_is_nice() {
        let before = nice();
        let thread = std::thread::spawn(move || {
            assert!(set_nice(before + 1));
            assert_eq!(nice(), before + 1);
        });
        thread.join().unwrap();
        assert_eq!(nice(), before);
    }

    #[test]
    fn a_thread_alone_is_idle_and_may_come_back() {
        let before = policy_and_class();
        let thread = std::thread::spawn(|| {
            assert!(idle());
            assert_eq!(policy_and_class(), (libc::SCHED_IDLE, CLASS_IDLE.into()));
            if ordinary() {
                assert_eq!(policy_and_class().0, libc::SCHED_OTHER);
            }
        });
        thread.join().unwrap();
        assert_eq!(policy_and_class(), before);
    }
}

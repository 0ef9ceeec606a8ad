//! The scripts, each with what they share put before it. They live in `lua/`.

use redis::Script;

macro_rules! scripts {
    ($($name:ident),+ $(,)?) => {
        /// Every script. Their first lines say what they take and return.
        pub(crate) struct Scripts {
            $(pub(crate) $name: Script,)+
        }

        impl Scripts {
            pub(crate) fn new() -> Self {
                Self {
                    $($name: Script::new(concat!(
                        include_str!("lua/common.lua"),
                        include_str!(concat!("lua/", stringify!($name), ".lua")),
                    )),)+
                }
            }
        }
    };
}

scripts!(
    append,
    read,
    claim,
    renew,
    complete,
    give_back,
    bury,
    raise_epoch,
    holds,
    quarantine,
    release,
    clear,
    discard,
    pause,
    resume,
    hasten,
    repair_room,
    repair_task,
    tidy,
    pulse,
);

//! Every transition, as the script that Redis runs from beginning to end without anybody in between.

use std::sync::LazyLock;

use redis::Script;

macro_rules! scripts {
    ($($name:ident = $file:literal;)*) => {
        $(pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(concat!(include_str!("scripts/prelude.lua"), include_str!(concat!("scripts/", $file))))
        });)*
    };
}

scripts! {
    CREATE = "create.lua";
    END = "end.lua";
    FIND = "find.lua";
    GET = "get.lua";
    LIST = "list.lua";
    RECORD = "record.lua";
    REPLACE = "replace.lua";
    ROTATE = "rotate.lua";
    SET_ATTRIBUTES = "set_attributes.lua";
    SWEEP = "sweep.lua";
}

//! Every transition, as the script that Redis runs from beginning to end without anybody in between.

use std::sync::LazyLock;

use redis::Script;

macro_rules! scripts {
    ($($name:ident = $($file:literal)*;)*) => {
        $(pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(concat!($(include_str!(concat!("scripts/", $file))),*))
        });)*
    };
}

scripts! {
    CREATE = "prelude.lua" "create.lua";
    END = "prelude.lua" "end.lua";
    FIND = "prelude.lua" "find.lua";
    GET = "prelude.lua" "get.lua";
    LIST = "prelude.lua" "list.lua";
    RECORD = "prelude.lua" "record.lua";
    REPLACE = "prelude.lua" "replace.lua";
    ROTATE = "prelude.lua" "rotate.lua";
    SET_ATTRIBUTES = "prelude.lua" "set_attributes.lua";
    SWEEP = "prelude.lua" "sweep.lua";
}

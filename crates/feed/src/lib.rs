//! The change feed: how an ending is acknowledged only once no replica will accept it any more.

//! tokio-postgres, before and after, with a real server: see `integrations/with-servers`.

mod ends;
mod faults;
mod killed;
mod kit;
mod late;
mod lines;
mod rows;

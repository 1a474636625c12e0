//! `lath serve --regions`: every region is a cell of two processes with their own data directory and network. A
//! supervisor restarts processes that die and serves the one front door.

mod faults;
mod front;
mod known;
mod layout;
mod process;
mod process_supervisor;
mod report;
mod roles;
mod sole;
mod supervisor;
mod suppress;
mod wan;

pub(crate) use layout::{check_files, refuse_if_cells, regions_in, was_served};
pub(crate) use roles::{control, node, witness};
pub(crate) use supervisor::{Supervisor, join_survivors, supervise};

/// What the operator's flags say about slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// User ID of the slots' processes. Both slots have the same, whatever their images say:
    /// one user cannot open the other's sockets.
    pub slot_user: i64,
    /// Group ID of the slots' processes.
    pub slot_group: i64,
}

impl Default for Settings {
    /// 65532, the user that images without a shell commonly call `nonroot`.
    fn default() -> Settings {
        Settings {
            slot_user: 65532,
            slot_group: 65532,
        }
    }
}

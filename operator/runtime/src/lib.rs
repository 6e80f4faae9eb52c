//! Process life of the operator: client, leader election, back-off, metrics, admin server.

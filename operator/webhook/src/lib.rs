//! The pod injector: a pure function from pod to patch, and the admission server around it.

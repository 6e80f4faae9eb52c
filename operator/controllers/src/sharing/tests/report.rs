//! What is said of a shared sidecar.

use outrigger_api::conditions::reason;
use outrigger_plan::LeftOut;

use crate::sharing::report::too_large;
use crate::status::Progress;

use super::function_pods::plan;

#[test]
fn an_application_whose_configuration_has_no_room_is_named_with_its_size() {
    let mut plan = plan();
    assert!(too_large(&plan).is_none());
    let part = |application: &str, goes_on| LeftOut {
        application: application.into(),
        bytes: 300 * 1024,
        goes_on,
    };
    plan.left_out = vec![part("bank", true)];
    let told = too_large(&plan).unwrap();
    assert_eq!(told.reason, reason::CONFIGURATION_TOO_LARGE);
    assert_eq!(told.progress, Progress::Stalled);
    assert_eq!(
        told.message,
        "the configuration of application bank has no room: it has 300 KiB, and 256 KiB are allowed for all applications together; its former one goes on; make it smaller, or use another IntegrationSidecar for some of the applications"
    );
    plan.left_out = vec![part("bank", false), part("shop", true)];
    let told = too_large(&plan).unwrap().message;
    assert!(told.contains("application bank, and those of 1 other applications, has no room"));
    assert!(told.contains("its requests are answered 503"));
}

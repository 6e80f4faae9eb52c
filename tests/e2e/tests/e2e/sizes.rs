//! What a sidecar costs.

use anyhow::Context;
use outrigger_control::Slot;
use outrigger_e2e::shop::SIDECAR;
use outrigger_e2e::{processes, slots};

use crate::scene::{Scene, Test, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![test!(a_slot_at_rest_and_its_image_are_small)]
}

/// Largest image, in bytes.
const IMAGE: u64 = 25 << 20;
/// Largest slot at rest, in bytes of resident memory of all its processes.
const RESIDENT: u64 = 15 << 20;

async fn a_slot_at_rest_and_its_image_are_small(scene: Scene<'_>) -> anyhow::Result<()> {
    let stage = scene.stage;
    let image = &stage.sidecars[0];
    let size = stage.site.images.size(image).await?;
    scene.say(format_args!("image: {:.1} MB", size as f64 / 1e6));
    assert!(size < IMAGE, "{size} bytes");

    let shop = scene.open(&scene.example()?).await?;
    shop.settled().await?;
    for pod in shop.pods().await? {
        for slot in Slot::BOTH {
            let container = slots::container(&pod, SIDECAR, slot)?;
            let mut resident = 0;
            for process in processes::of(container)? {
                resident += process.resident().context("no resident memory")?;
            }
            scene.say(format_args!("slot {slot}: {:.1} MB", resident as f64 / 1e6));
            assert!(resident < RESIDENT, "slot {slot}: {resident} bytes");
        }
    }
    Ok(())
}

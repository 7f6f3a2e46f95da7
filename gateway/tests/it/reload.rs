//! The route file changes while requests come.

use super::client::{Client, get, request};
use super::gateway::{Gateway, eventually};

const APP: &str = "[upstream.app]\nendpoints = [\"http://APP\"]\ntimeout = \"5s\"\n";

fn rule(path: &str) -> String {
    format!("[[route]]\npath = \"{path}\"\naccept = []\nupstream = \"app\"\n")
}

async fn until(gateway: &Gateway, path: &str, status: u16) {
    eventually(path, async || (get(gateway.address, path, &[]).await.status == status).then_some(())).await;
}

#[tokio::test]
async fn a_change_is_put_in_force_and_open_connections_are_kept() {
    let gateway = Gateway::with_routes(&[APP, &rule("/one/*")].concat()).await;
    assert_eq!(get(gateway.address, "/one/x", &[]).await.status, 200);
    assert_eq!(get(gateway.address, "/two/x", &[]).await.status, 404);
    gateway.rewrite(&[APP, &rule("/two/*")].concat());
    until(&gateway, "/two/x", 200).await;
    assert_eq!(get(gateway.address, "/one/x", &[]).await.status, 404);
    assert_eq!(gateway.upstream.connections(), 1, "the application is still the same");
    assert_eq!(gateway.metric("latchkey_gateway_routes_reloads_total{outcome=\"loaded\"}"), Some(1.0));

    gateway.rewrite(&[&APP.replace("5s", "6s"), &rule("/three/*")[..]].concat());
    until(&gateway, "/three/x", 200).await;
    assert_eq!(gateway.upstream.connections(), 2, "another rule is another upstream");
    gateway.upstream.until_closed(1).await;
}

#[tokio::test]
async fn a_request_under_way_ends_as_it_began() {
    let gateway = Gateway::with_routes(&[APP, &rule("/one/*")].concat()).await;
    let mut slow = Client::connect(gateway.address).await;
    slow.send(request("GET", "/one/slow", &[])).await;
    eventually("the request is there", async || (gateway.upstream.requests().len() == 1).then_some(())).await;
    gateway.rewrite("");
    until(&gateway, "/one/x", 404).await;
    gateway.upstream.go();
    assert_eq!(slow.answer().await.text(), "slow");
    slow.send(request("GET", "/one/x", &[])).await;
    assert_eq!(slow.answer().await.status, 404, "the next one on the connection is the new table's");
}

#[tokio::test]
async fn a_file_that_is_wrong_changes_nothing_and_is_told() {
    let good = [APP, &rule("/one/*")].concat();
    let gateway = Gateway::with_routes(&good).await;
    let current = || gateway.metric("latchkey_gateway_routes_current");
    let condition = || {
        let all = gateway.lifecycle.conditions();
        all.into_iter().find(|condition| &*condition.name == "route file").unwrap()
    };
    assert_eq!(current(), Some(1.0));
    assert_eq!(condition().state, Ok(()));
    assert!(!condition().required, "a process that serves its former routes is not taken away");

    gateway.rewrite(&[&good, "[[route]]\npath = \"/two/*\"\nhue = 1\n"].concat());
    let told = eventually("it is told", async || condition().state.err()).await;
    // Everything at once, as at the start.
    for expected in ["routes.toml:10: ", "accept is missing", "upstream is missing", "unknown key \"hue\""] {
        assert!(told.contains(expected), "{expected:?} is not in {told}");
    }
    assert!(!told.contains('\n'), "{told}");
    assert_eq!(current(), Some(0.0));
    assert_eq!(gateway.metric("latchkey_gateway_routes_reloads_total{outcome=\"refused\"}"), Some(1.0));
    assert_eq!(get(gateway.address, "/one/x", &[]).await.status, 200);
    assert_eq!(get(gateway.address, "/two/x", &[]).await.status, 404);
    assert!(gateway.lifecycle.is_ready());

    std::fs::remove_file(gateway.route_file()).unwrap();
    eventually("it is missed", async || {
        condition().state.err().filter(|told| told.contains("cannot be read"))
    })
    .await;
    assert_eq!(get(gateway.address, "/one/x", &[]).await.status, 200);

    gateway.rewrite(&[APP, &rule("/two/*")].concat());
    until(&gateway, "/two/x", 200).await;
    assert_eq!((current(), condition().state), (Some(1.0), Ok(())));
}

#[tokio::test]
async fn a_change_in_place_that_keeps_size_and_time_is_a_change() {
    let gateway = Gateway::with_routes(&[APP, &rule("/one/*")].concat()).await;
    let file = gateway.route_file();
    let text = std::fs::read_to_string(&file).unwrap();
    let modified = std::fs::metadata(&file).unwrap().modified().unwrap();
    std::fs::write(&file, text.replace("/one/", "/two/")).unwrap();
    std::fs::File::options().write(true).open(&file).unwrap().set_modified(modified).unwrap();
    until(&gateway, "/two/x", 200).await;
}

#[tokio::test]
async fn a_link_that_is_exchanged_is_a_change() {
    let gateway = Gateway::with_routes(&[APP, &rule("/one/*")].concat()).await;
    let file = gateway.route_file();
    let folder = file.parent().unwrap();
    // As Kubernetes mounts a ConfigMap: the file is a link through a link to a folder, and that one is exchanged.
    let version = |name: &str, routes: &str| {
        std::fs::create_dir(folder.join(name)).unwrap();
        let text = routes.replace("APP", &gateway.upstream.address.to_string());
        std::fs::write(folder.join(name).join("routes.toml"), text).unwrap();
        std::os::unix::fs::symlink(name, folder.join("..data.new")).unwrap();
        std::fs::rename(folder.join("..data.new"), folder.join("..data")).unwrap();
    };
    version("..1", &[APP, &rule("/two/*")].concat());
    std::os::unix::fs::symlink("..data/routes.toml", folder.join("link")).unwrap();
    std::fs::rename(folder.join("link"), &file).unwrap();
    until(&gateway, "/two/x", 200).await;
    version("..2", &[APP, &rule("/three/*")].concat());
    until(&gateway, "/three/x", 200).await;
    assert_eq!(get(gateway.address, "/two/x", &[]).await.status, 404);
}

#[tokio::test]
async fn every_thread_changes() {
    let gateway = Gateway::with_workers(3).await;
    gateway.rewrite(&[APP, &rule("/two/*")].concat());
    // The kernel spreads connections over threads: so many in a row reach all of them.
    eventually("all of them know", async || {
        for _ in 0..24 {
            if get(gateway.address, "/two/x", &[]).await.status != 200 {
                return None;
            }
        }
        Some(())
    })
    .await;
}

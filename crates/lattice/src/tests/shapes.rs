//! The operations' shapes, printed for comparison with the published model.

use super::*;

#[test]
fn every_operation_has_a_rest_route_of_its_own() {
    let (cell, _node) = Cell::for_test();
    let service = service(&Arc::new(Lattice { cell }));
    let mut routes: Vec<_> = service
        .operations()
        .map(|name| {
            let route = service.route(name).expect("a REST operation has a route");
            (route.path, route.method)
        })
        .collect();
    let count = routes.len();
    routes.sort_unstable();
    routes.dedup();
    assert_eq!((routes.len(), count), (47, 47));
}

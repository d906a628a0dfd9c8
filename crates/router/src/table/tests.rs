//! Claims about the shape of the packed tree.

use super::*;

fn table(paths: usize) -> Table {
    let texts: Vec<_> = (0..paths)
        .map(|number| [format!("team-{}", number % 97), format!("service-{number}")])
        .collect();
    let mut builder = Builder::default();
    let mut sorted: Vec<_> = texts.iter().collect();
    sorted.sort();
    for (rule, [team, service]) in (0..).zip(sorted) {
        let path = [
            Token::Literal("api"),
            Token::Literal(team),
            Token::Literal(service),
            Token::Prefix,
        ];
        builder.insert(rule, Some("shop.example"), &path, Some(rule));
    }
    builder.finish()
}

/// How many places a search for each node looks at, summed, and at most for one.
fn probes(table: &Table) -> (usize, usize, usize) {
    let mut all = (0, 0, 0);
    let places = &table.index.places;
    for (place, entry) in places.iter().enumerate() {
        if *entry == EMPTY {
            continue;
        }
        let node = table.node(entry & table.index.address_bits);
        let ideal = hash_segment(node.parent(), node.label()).place(table.index.begins);
        let looked = place - ideal + 1;
        all = (all.0 + 1, all.1 + looked, all.2.max(looked));
    }
    all
}

#[test]
fn probing_stays_short_at_ten_thousand_routes() {
    for paths in [1, 10, 10_000] {
        let (nodes, looked, longest) = probes(&table(paths));
        assert!(looked <= nodes * 2, "{looked} looks for {nodes} nodes");
        assert!(longest <= 100, "{longest} looks for one node");
    }
}

#[test]
fn chain_of_single_children_is_one_node() {
    let (nodes, _, _) = probes(&table(1));
    assert_eq!(nodes, 2, "the host and its path");
    let (nodes, _, _) = probes(&table(97));
    assert_eq!(
        nodes,
        2 + 97,
        "the host, /api and each team with its service"
    );
}

#[test]
fn walk_visits_each_node_at_most_once() {
    let mut builder = Builder::default();
    let words = [Token::Literal("a"), Token::Capture];
    for number in 0..1_u32 << 8 {
        let mut path: Vec<_> = (0..8)
            .map(|bit| words[(number >> bit & 1) as usize])
            .collect();
        path.push(Token::End);
        builder.insert(number, None, &path, Some(number));
    }
    let table = builder.finish();
    let mut stops = 0;
    let walk = table.walk("", "/a".repeat(8).as_bytes(), &mut |stop| {
        stops += stop.rules.len();
        ControlFlow::Continue(())
    });
    assert!(walk.is_continue());
    assert_eq!(stops, 1 << 8);
}

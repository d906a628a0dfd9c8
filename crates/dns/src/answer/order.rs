//! In which order members are told: by chance, by weight, the nearest zone first.
//!
//! Only as many are drawn as are told. Among equals that is the start of a shuffle (Fisher and
//! Yates), whose swaps are taken back for the next one. Otherwise each next one is drawn from
//! those that are left by weight; their sums are kept in a tree (Fenwick, 1994), so that a draw
//! costs the logarithm of their number.

use portolan_runtime::Dice;

use crate::zone::{Member, Members};

/// Room for orders, used again and again.
#[derive(Debug)]
pub(crate) struct Order {
    dice: Dice,
    /// 0, 1, 2 and so on, but for what a shuffle has swapped.
    places: Vec<u32>,
    /// What it has swapped.
    swaps: Vec<(usize, usize)>,
    tree: Tree,
}

/// Sums of the weights of those that are left.
#[derive(Debug, Default)]
struct Tree {
    /// Places in the list of those to draw from.
    places: Vec<u32>,
    /// At each place, counted from 1, the sum of as many weights before as its lowest bit says.
    sums: Vec<u64>,
    left: u64,
}

/// Members as they are drawn.
pub(crate) struct Draw<'o, 'm> {
    order: &'o mut Order,
    members: &'m Members,
    way: Way,
}

/// How the next one is drawn.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// All are alike; so many are drawn.
    Even(usize),
    /// Those of that zone, and then the others.
    Near(u16),
    /// By weight, of those that the tree has.
    Weighed,
}

impl Order {
    /// Room that grows to what the largest service needs.
    pub(crate) const fn new(dice: Dice) -> Self {
        Self {
            dice,
            places: Vec::new(),
            swaps: Vec::new(),
            tree: Tree {
                places: Vec::new(),
                sums: Vec::new(),
                left: 0,
            },
        }
    }

    /// Draws the members one after the other. Those of the zone come first; within a zone and
    /// among the others each is before another in the proportion of their weights.
    pub(crate) fn draw<'o, 'm>(
        &'o mut self,
        members: &'m Members,
        zone: Option<u16>,
    ) -> Draw<'o, 'm> {
        let way = match zone {
            None if members.is_even => {
                self.straighten(members.list.len());
                Way::Even(0)
            }
            None => {
                self.tree.fill(members, |_| true);
                Way::Weighed
            }
            Some(zone) => {
                self.tree.fill(members, |member| member.is_in(zone));
                Way::Near(zone)
            }
        };
        Draw {
            order: self,
            members,
            way,
        }
    }

    /// Takes the last shuffle back, and makes room for so many.
    fn straighten(&mut self, count: usize) {
        while let Some((one, other)) = self.swaps.pop() {
            self.places.swap(one, other);
        }
        let from = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        let to = u32::try_from(count).unwrap_or(u32::MAX);
        self.places.extend(from..to);
    }

    /// The next place of a shuffle of so many.
    fn shuffled(&mut self, place: usize, count: usize) -> Option<u32> {
        let left = u32::try_from(count.checked_sub(place)?).unwrap_or(u32::MAX);
        let step = usize::try_from(self.dice.u32_below(left)).unwrap_or_default();
        let other = place.saturating_add(step);
        if place >= count || other >= self.places.len() {
            return None;
        }
        self.places.swap(place, other);
        self.swaps.push((place, other));
        self.places.get(place).copied()
    }
}

impl<'m> Iterator for Draw<'_, 'm> {
    type Item = &'m Member;

    fn next(&mut self) -> Option<&'m Member> {
        let list = &self.members.list;
        let order = &mut *self.order;
        let place = match self.way {
            Way::Even(drawn) => {
                self.way = Way::Even(drawn.saturating_add(1));
                order.shuffled(drawn, list.len())
            }
            Way::Weighed => order.tree.take(&mut order.dice),
            Way::Near(zone) => order.tree.take(&mut order.dice).or_else(|| {
                order.tree.fill(self.members, |member| !member.is_in(zone));
                self.way = Way::Weighed;
                order.tree.take(&mut order.dice)
            }),
        };
        list.get(usize::try_from(place?).ok()?)
    }
}

impl Tree {
    fn fill(&mut self, members: &Members, is_wanted: impl Fn(&Member) -> bool) {
        self.places.clear();
        self.sums.clear();
        // So that both grow to the same, whoever is wanted.
        self.places.reserve(members.list.len());
        self.sums.reserve(members.list.len());
        self.left = 0;
        let list = (0_u32..).zip(&members.list);
        for (place, member) in list.filter(|(_, member)| is_wanted(member)) {
            let weight = u64::from(member.weight);
            self.left = self.left.saturating_add(weight);
            self.places.push(place);
            self.sums.push(weight);
        }
        for at in 1..=self.sums.len() {
            let sum = self.sums.get(at.saturating_sub(1)).copied();
            if let Some(above) = self.sums.get_mut(above(at).saturating_sub(1)) {
                *above = above.saturating_add(sum.unwrap_or_default());
            }
        }
    }

    /// Draws one of those that are left, and leaves it out from here on.
    fn take(&mut self, dice: &mut Dice) -> Option<u32> {
        // A remainder of 64 bits favours nobody that anybody could count.
        let mut rest = dice.u64().checked_rem(self.left)?;
        let mut at = 0_usize;
        let mut step = self.sums.len().checked_next_power_of_two()?;
        while step > 0 {
            let next = at.saturating_add(step);
            if let Some(sum) = self.sums.get(next.saturating_sub(1)).copied()
                && sum <= rest
            {
                (at, rest) = (next, rest.saturating_sub(sum));
            }
            step /= 2;
        }
        let place = self.places.get(at).copied()?;
        self.leave_out(at);
        Some(place)
    }

    /// Takes the weight at a place, counted from 0, out of all sums.
    fn leave_out(&mut self, at: usize) {
        let mut at = at.saturating_add(1);
        let weight = self.weight(at);
        self.left = self.left.saturating_sub(weight);
        while let Some(sum) = self.sums.get_mut(at.saturating_sub(1)) {
            *sum = sum.saturating_sub(weight);
            at = above(at);
        }
    }

    /// The weight at a place, counted from 1: its sum without those below.
    fn weight(&self, at: usize) -> u64 {
        let sum = |at: usize| {
            let at = at.checked_sub(1);
            at.and_then(|at| self.sums.get(at))
                .copied()
                .unwrap_or_default()
        };
        let mut weight = sum(at);
        let end = at & at.saturating_sub(1);
        let mut below = at.saturating_sub(1);
        while below > end {
            weight = weight.saturating_sub(sum(below));
            below &= below.saturating_sub(1);
        }
        weight
    }
}

/// The next place in the tree, counted from 1, whose sum has that of this one in it.
const fn above(at: usize) -> usize {
    at.saturating_add(at & at.wrapping_neg())
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, net::IpAddr};

    use super::*;

    fn members(weights: &[u16]) -> Members {
        let members = weights.iter().zip(1_u8..);
        Members::new(
            members
                .map(|(weight, last)| Member::new(IpAddr::from([10, 0, 0, last]), 80, *weight))
                .collect(),
        )
    }

    fn firsts(members: &Members) -> HashMap<IpAddr, u32> {
        let mut order = Order::new(Dice::new(1));
        let mut firsts = HashMap::new();
        for _ in 0..10_000 {
            let all: Vec<_> = order.draw(members, None).collect();
            assert_eq!(all.len(), members.list.len());
            let first: &mut u32 = firsts.entry(all[0].ip).or_default();
            *first = first.saturating_add(1);
        }
        firsts
    }

    #[test]
    fn equal_members_come_first_equally_often() {
        for count in firsts(&members(&[100, 100, 100, 100])).values() {
            assert!((2_300..2_700).contains(count), "{count}");
        }
    }

    #[test]
    fn members_come_first_in_the_proportion_of_their_weights() {
        let firsts = firsts(&members(&[100, 300]));
        let heavy = firsts[&IpAddr::from([10, 0, 0, 2])];
        assert!((7_300..7_700).contains(&heavy), "{heavy}");
    }

    #[test]
    fn all_are_told_once_whatever_was_drawn_before() {
        let mut order = Order::new(Dice::new(7));
        let sizes = [5, 1, 64, 3, 0, 63, 2, 200, 65];
        let counts = sizes.iter().cycle().take(200).zip(0_usize..);
        for (size, drawn) in counts {
            for is_even in [true, false] {
                let weight = |at: u16| if is_even { 7 } else { 1 + at % 5 };
                let weights: Vec<u16> = (0..*size).map(weight).collect();
                let members = members(&weights);
                // Part of a draw before leaves nothing behind.
                assert_eq!(
                    order.draw(&members, None).take(drawn % 7).count(),
                    (drawn % 7).min(weights.len())
                );
                let mut all: Vec<_> = order.draw(&members, None).map(|one| one.ip).collect();
                all.sort();
                let listed: Vec<_> = members.list.iter().map(|one| one.ip).collect();
                assert_eq!(all, listed);
            }
        }
    }

    #[test]
    fn those_that_come_second_do_so_in_the_proportion_of_what_is_left() {
        let members = members(&[100, 100, 200]);
        let mut order = Order::new(Dice::new(3));
        let mut seconds = [0_u32; 3];
        for _ in 0..24_000 {
            let second = order.draw(&members, None).nth(1).unwrap();
            let IpAddr::V4(ip) = second.ip else { panic!() };
            let place = usize::from(ip.octets()[3] - 1);
            seconds[place] += 1;
        }
        // A light one after the other (1/4 * 1/3) or after the heavy one (1/2 * 1/2), the heavy
        // one after either (2 * 1/4 * 2/3): a third each.
        for count in seconds {
            assert!(count.abs_diff(8_000) < 400, "{seconds:?}");
        }
    }
}

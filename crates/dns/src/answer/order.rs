//! In which order members are told: by chance, by weight, the nearest zone first.

use portolan_runtime::Dice;

use crate::zone::{Member, Members};

/// Room for orders, used again and again.
#[derive(Debug)]
pub(crate) struct Order {
    dice: Dice,
    /// Places in the list, with what they are sorted by.
    drawn: Vec<(f64, u32)>,
}

impl Order {
    /// Room that grows to what the largest service needs.
    pub(crate) const fn new(dice: Dice) -> Self {
        Self {
            dice,
            drawn: Vec::new(),
        }
    }

    /// Draws an order of the members. Those of the zone come first; within a zone and among
    /// the others each is before another in the proportion of their weights.
    pub(crate) fn draw(&mut self, members: &Members, zone: Option<u16>) {
        self.drawn.clear();
        let list = members.list.iter().zip(0_u32..);
        let is_near = |member: &Member| zone.is_some_and(|zone| member.is_in(zone));
        if members.is_even && zone.is_none() {
            self.drawn.extend(list.map(|(_, place)| (0.0, place)));
            return self.shuffle();
        }
        let dice = &mut self.dice;
        self.drawn.extend(list.map(|(member, place)| {
            // The first of exponential clocks that run at the speed of their weights
            // (Efraimidis and Spirakis, 2006). A far one starts after every near one.
            let chance = 1.0 - dice.unit_f64();
            let time = -chance.ln() / f64::from(member.weight);
            let start = if zone.is_none() || is_near(member) {
                0.0
            } else {
                FAR
            };
            (start + time, place)
        }));
        self.drawn
            .sort_unstable_by(|(one, _), (other, _)| one.total_cmp(other));
    }

    fn shuffle(&mut self) {
        let count = u32::try_from(self.drawn.len()).unwrap_or(u32::MAX);
        for place in 0..count {
            let left = count.saturating_sub(place);
            let other = place.saturating_add(self.dice.u32_below(left));
            if let (Ok(place), Ok(other)) = (usize::try_from(place), usize::try_from(other)) {
                self.drawn.swap(place, other);
            }
        }
    }

    /// The members in the order that was drawn.
    pub(crate) fn of<'m>(&self, members: &'m Members) -> impl Iterator<Item = &'m Member> {
        let places = self.drawn.iter();
        places.filter_map(|(_, place)| members.list.get(usize::try_from(*place).ok()?))
    }
}

/// Later than any clock rings: the chance is at least 2^-53, and the weight at least 1.
const FAR: f64 = 1000.0;

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
            order.draw(members, None);
            let all: Vec<_> = order.of(members).collect();
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
}

//! Who is shown in a grid that has fewer tiles than the room has people: the most recent speakers, each in a tile that
//! stays theirs. Whoever speaks and has no tile gets an empty one, or that of whoever has not spoken for longest; nobody
//! else moves.

/// Members by key. See the [module](self).
#[derive(Debug, Clone)]
pub(super) struct Grid {
    tiles: Vec<Option<usize>>,
}

impl Grid {
    pub(super) fn new(tiles: usize) -> Self {
        Self { tiles: vec![None; tiles] }
    }

    pub(super) fn tiles(&self) -> &[Option<usize>] {
        &self.tiles
    }

    /// An empty tile for a member, if there is one.
    pub(super) fn seat(&mut self, key: usize) -> bool {
        if self.tiles.contains(&Some(key)) {
            return true;
        }
        let Some(tile) = self.tiles.iter_mut().find(|tile| tile.is_none()) else { return false };
        *tile = Some(key);
        true
    }

    /// A tile for a member who speaks. `spoke`: when a member last spoke; whoever is on the stage keeps their tile.
    pub(super) fn show(&mut self, key: usize, on_stage: Option<usize>, spoke: impl Fn(usize) -> i64) {
        if self.seat(key) {
            return;
        }
        let movable = self.tiles.iter_mut().filter(|tile| **tile != on_stage);
        if let Some(tile) = movable.min_by_key(|tile| tile.map_or(i64::MIN, &spoke)) {
            *tile = Some(key);
        }
    }

    pub(super) fn forget(&mut self, key: usize) {
        for tile in self.tiles.iter_mut().filter(|tile| **tile == Some(key)) {
            *tile = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_speaks_takes_the_tile_of_the_longest_silent_and_nobody_else_moves() {
        let mut grid = Grid::new(3);
        for key in 0..5 {
            grid.seat(key);
        }
        let spoke = |key: usize| [30, 10, 20, 40, 50][key];
        grid.show(3, Some(0), spoke);
        assert_eq!(grid.tiles(), [Some(0), Some(3), Some(2)]);
        grid.show(3, Some(0), spoke);
        assert_eq!(grid.tiles(), [Some(0), Some(3), Some(2)]);
        grid.forget(0);
        grid.show(4, None, spoke);
        assert_eq!(grid.tiles(), [Some(4), Some(3), Some(2)]);
    }

    #[test]
    fn the_stage_keeps_its_tile_even_when_there_is_no_other() {
        let mut grid = Grid::new(1);
        grid.seat(0);
        grid.show(1, Some(0), |_| 0);
        assert_eq!(grid.tiles(), [Some(0)]);
        Grid::new(0).show(1, None, |_| 0);
    }
}

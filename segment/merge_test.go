package segment

import (
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/leveret-mq/leveret/internal/fs"
)

// row makes finished segments, one behind the other, of 100 offsets each from base on.
func row(t testing.TB, b *bed, base int64, n int) (list []*Segment) {
	t.Helper()
	for range n {
		s := b.create(t, base, 64<<10)
		fill(t, s, 50)
		finish(t, s)
		list, base = append(list, s), s.Next()
	}
	return list
}

func merge(t testing.TB, list []*Segment, keep func(first, last int64) bool) *Thinned {
	t.Helper()
	th, err := Merge(list, keep)
	if err != nil || th == nil {
		t.Fatalf("merged %v, %v", th, err)
	}
	return th
}

func TestAMergedSegmentIsTheGoldenOne(t *testing.T) {
	b := newBed(t, 0)
	n := replace(t, b, merge(t, row(t, b, 70, 3), wants(70, 111, 169, 170, 171)))
	got := fileOf(t, b.fs, n.Name())
	clear(got[16:24])
	clear(got[120:128])
	isGolden(t, "v2.merged.hex", got)
	if n.Base() != 70 || n.Next() != 370 || n.Covers() != 370 || n.Records() != 8 || n.Dense() || n.CreatedMs() != created {
		t.Errorf("[%d, %d), covers %d, %d records, dense %v, created %d", n.Base(), n.Next(), n.Covers(), n.Records(), n.Dense(), n.CreatedMs())
	}
	b.pool.Wait()
	if left, _ := b.fs.ReadDir("/q"); !slices.Equal(left, []string{FileName(70)[:20] + IndexSuffix, FileName(70)}) {
		t.Errorf("files %v", left)
	}
	var out strings.Builder
	if err := dump(&out, b.fs, n.Name()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"version 2,", "in place of files up to offset 370", "offsets 172 to 369, 0 records"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestAMergedSegmentIsThinnedAndMergedAgainAndCoversWhatItDid(t *testing.T) {
	b := newBed(t, 0)
	list := row(t, b, 0, 3)
	n := replace(t, b, merge(t, list[:2], func(first, last int64) bool { return true }))
	if n.Records() != 200 || !n.Dense() || n.Covers() != 200 {
		t.Errorf("%d records, dense %v, covers %d", n.Records(), n.Dense(), n.Covers())
	}
	n = replace(t, b, thin(t, n, wants(3, 150)))
	if n.Records() != 4 || n.Covers() != 200 {
		t.Errorf("thinned: %d records, covers %d", n.Records(), n.Covers())
	}
	n = replace(t, b, merge(t, []*Segment{n, list[2]}, wants(150, 299)))
	if got := offsets(t, n, 0, 4096); !slices.Equal(got, []int64{0, 150, 152, 298}) || n.Covers() != 300 {
		t.Errorf("batches %v, covers %d", got, n.Covers())
	}
}

func TestOnlyWholeNeighboursAreMerged(t *testing.T) {
	b := newBed(t, 0)
	list := row(t, b, 0, 3)
	open := b.create(t, 300, 64<<10)
	fill(t, open, 5)
	far := row(t, b, 300+1<<32, 1)
	hurt := row(t, b, 400, 2)
	hurt[1].addDamage(Span{FromPosition: 200, ToPosition: 300, FromOffset: 500, ToOffset: 502, Err: ErrCorrupt})
	for name, group := range map[string][]*Segment{
		"none": nil, "a gap": {list[0], list[2]}, "not finished": {list[2], open}, "damaged": hurt,
		"too many offsets": {list[0], {o: b.o, base: 100, name: "x"}, far[0]},
	} {
		if name == "too many offsets" {
			group[1].next.Store(far[0].base)
			group[1].finished.Store(true)
		}
		if th, err := Merge(group, wants(3)); th != nil || err != nil {
			t.Errorf("%s: merged %v, %v", name, th != nil, err)
		}
	}
	th := merge(t, list, wants(3))
	th.Discard()
	b.pool.Wait()
	if left, _ := b.fs.ReadDir("/pool"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	list[1].Drop()
	if th, err := Merge(list, wants(3)); th != nil || err != nil {
		t.Errorf("with a dropped one: merged %v, %v", th != nil, err)
	}
}

// TestAMergedSegmentOpensAmongWhatItReplaced: the bound that its neighbour's name tells is not its own.
func TestAMergedSegmentOpensAmongWhatItReplaced(t *testing.T) {
	for _, c := range []struct {
		name    string
		cut     int64 // bytes
		lost    bool
		noIndex bool
	}{{"as it is", 0, false, false}, {"without its index", 0, false, true}, {"cut short", 300, true, true}} {
		t.Run(c.name, func(t *testing.T) {
			b := newBed(t, 0)
			n := replace(t, b, merge(t, row(t, b, 0, 3), wants(3, 150, 290)))
			data := fileOf(t, b.fs, n.Name())
			n.Close()
			b.pool.Wait()
			if err := b.fs.Remove(n.Name()); err != nil {
				t.Fatal(err)
			}
			write(t, b.fs, n.Name(), data[:int64(len(data))-c.cut])
			if c.noIndex {
				if err := b.fs.Remove(IndexName(n.Name())); err != nil {
					t.Fatal(err)
				}
			}
			for _, bound := range []int64{100, 300, -1} {
				o, found, err := Open(b.o, n.Name(), 0, bound)
				if err != nil || found.Empty || found.CutBytes > 0 || found.IndexErr != nil || (len(found.Damage) > 0) != c.lost {
					t.Fatalf("bound %d: %+v, %v", bound, found, err)
				}
				if o.Next() != 300 || o.Covers() != 300 {
					t.Errorf("bound %d: next %d, covers %d", bound, o.Next(), o.Covers())
				}
				if c.lost && found.Damage[0].ToOffset != 300 {
					t.Errorf("bound %d: %+v", bound, found.Damage)
				}
				o.Close()
			}
		})
	}
}

// TestFilesThatWereMergedStayUntilTheirSuccessorIsDurable, or a power cut could take both.
func TestFilesThatWereMergedStayUntilTheirSuccessorIsDurable(t *testing.T) {
	m := fs.NewMem(1)
	failing := false
	b := bedOn(t, fs.Failing(m, func(op fs.Op, name string) error {
		if failing && op == fs.OpSyncDir {
			return syscall.EIO
		}
		return nil
	}), m, 0)
	th := merge(t, row(t, b, 0, 3), wants(3))
	th.Claim()
	if _, err := th.Install(); err != nil {
		t.Fatal(err)
	}
	failing = true
	err := th.Settle()
	if !errors.Is(err, syscall.EIO) {
		t.Errorf("settled: %v", err)
	}
	th.Retire(err == nil)
	failing = false
	b.pool.Wait()
	for _, base := range []int64{0, 100, 200} {
		if _, err := b.fs.Stat("/q/" + FileName(base)); err != nil {
			t.Error(err)
		}
	}
	if got := offsets(t, th.Segment(), 0, 4096); !slices.Equal(got, []int64{0, 2, 4}) {
		t.Errorf("batches %v", got)
	}
}

func TestAHeaderCoversMoreThanItsOwnFirstOffset(t *testing.T) {
	b := make([]byte, HeaderBytes)
	want := Header{Generation: 7, BaseOffset: 70, CreatedMs: created, AllocatedBytes: 400, Covers: 71}
	want.Put(b)
	if h, err := DecodeHeader(b); err != nil || h != want {
		t.Errorf("decoded %+v, %v", h, err)
	}
	Header{Generation: 7, BaseOffset: 70, Covers: 70}.Put(b)
	if _, err := DecodeHeader(b); !errors.Is(err, ErrHeader) {
		t.Errorf("a header that covers nothing: %v", err)
	}
}

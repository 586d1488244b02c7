package budget

// LittleStanding is what an account may hold for ever when all have their part of what is Standing.
const LittleStanding = 64 << 10

// Stand takes n bytes for what waits for its client, who may let it wait for ever, or says that there are none. All who
// do so may hold a part of the Budget: the rest is for what is finished.
func (a *Account) Stand(n int64) bool {
	if a.Try(n) != nil {
		return false
	}
	if a.Held() <= LittleStanding {
		return true
	}
	if a.b.Stats().Used > a.b.Standing() {
		a.Give(n)
		return false
	}
	return true
}

//go:build !race

package fakeclock

const raceDetector = false

// Package chart draws the benchmark report's charts as SVG to stand inside an HTML page:
// groups of horizontal bars, and lines over linear, logarithmic or percentile axes.
//
// A drawing is Width units wide, whatever is on it, so that a page can set several side by
// side or shrink one to a phone without its text becoming too small. Colours are the
// page's: what belongs to series n has the class sn, and text has none but the page's own,
// so the same drawing serves light and dark. Nothing is told by colour alone: bars have
// their value and name written, lines a marker of their own and a legend.
//
// Each drawing has a title and a description that say in words what is on it.
//
// It is our own because a plotting library either draws with fixed colours and embedded
// fonts or wants a script on the page; what is needed here is a few rectangles and lines.
// The package knows nothing of brokers and imports nothing of this module.
package chart

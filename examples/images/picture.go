package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	_ "image/gif" // decoders of what people upload
	"image/jpeg"
	_ "image/png"

	"golang.org/x/image/draw"
	_ "golang.org/x/image/webp"
)

const (
	maxUploadBytes = 16 << 20
	// maxPixels bounds what a small file may unpack to: four bytes each.
	maxPixels   = 50_000_000
	jpegQuality = 85
)

var errNoPicture = errors.New("this is no JPEG, PNG, GIF or WebP picture")

// look checks a picture by its first bytes, without unpacking it.
func look(data []byte) error {
	c, _, err := image.DecodeConfig(bytes.NewReader(data))
	switch {
	case err != nil:
		return errNoPicture
	case c.Width <= 0 || c.Height <= 0 || c.Width > maxPixels/c.Height:
		return fmt.Errorf("a picture of %d × %d pixels is larger than %d million", c.Width, c.Height, maxPixels/1_000_000)
	}
	return nil
}

// resize makes one size of a picture, as JPEG.
func resize(data []byte, s Size) (out []byte, width, height int, err error) {
	if err := look(data); err != nil {
		return nil, 0, 0, err
	}
	source, _, err := image.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, 0, 0, fmt.Errorf("the picture is damaged: %w", err)
	}
	turn := orientation(data)
	from := source.Bounds()
	if s.Square {
		edge := min(from.Dx(), from.Dy())
		from = image.Rect(0, 0, edge, edge).Add(from.Min).Add(image.Pt((from.Dx()-edge)/2, (from.Dy()-edge)/2))
	}
	small := image.NewRGBA(fit(from, s.Edge))
	// JPEG has no transparency: what shines through is white.
	draw.Draw(small, small.Bounds(), image.NewUniform(color.White), image.Point{}, draw.Src)
	draw.CatmullRom.Scale(small, small.Bounds(), source, from, draw.Over, nil)
	small = turned(small, turn)
	var b bytes.Buffer
	if err := jpeg.Encode(&b, small, &jpeg.Options{Quality: jpegQuality}); err != nil {
		return nil, 0, 0, err
	}
	return b.Bytes(), small.Bounds().Dx(), small.Bounds().Dy(), nil
}

// fit is the rectangle of the same shape whose longer side is edge at most.
func fit(r image.Rectangle, edge int) image.Rectangle {
	w, h := r.Dx(), r.Dy()
	if longer := max(w, h); longer > edge {
		w, h = max(1, (w*edge+longer/2)/longer), max(1, (h*edge+longer/2)/longer)
	}
	return image.Rect(0, 0, w, h)
}

// turned applies an EXIF orientation, 1 to 8: cameras store what the sensor saw and
// a note of how they were held.
func turned(m *image.RGBA, orientation int) *image.RGBA {
	if orientation < 2 || orientation > 8 {
		return m
	}
	w, h := m.Bounds().Dx(), m.Bounds().Dy()
	out := image.NewRGBA(image.Rect(0, 0, w, h))
	if orientation >= 5 {
		out = image.NewRGBA(image.Rect(0, 0, h, w))
	}
	for y := range h {
		for x := range w {
			var to image.Point
			switch orientation {
			case 2:
				to = image.Pt(w-1-x, y)
			case 3:
				to = image.Pt(w-1-x, h-1-y)
			case 4:
				to = image.Pt(x, h-1-y)
			case 5:
				to = image.Pt(y, x)
			case 6:
				to = image.Pt(h-1-y, x)
			case 7:
				to = image.Pt(h-1-y, w-1-x)
			case 8:
				to = image.Pt(y, w-1-x)
			}
			out.SetRGBA(to.X, to.Y, m.RGBAAt(x, y))
		}
	}
	return out
}

// orientation is what a JPEG's EXIF block says of how the camera was held, or 1.
func orientation(data []byte) int {
	if len(data) < 4 || data[0] != 0xff || data[1] != 0xd8 {
		return 1
	}
	// Segments: 0xff, kind, length (with itself), bytes.
	for rest := data[2:]; len(rest) >= 4 && rest[0] == 0xff && rest[1] != 0xda; {
		length := int(binary.BigEndian.Uint16(rest[2:]))
		if length < 2 || length+2 > len(rest) {
			return 1
		}
		if body, ok := bytes.CutPrefix(rest[4:length+2], []byte("Exif\x00\x00")); ok && rest[1] == 0xe1 {
			return tiffOrientation(body)
		}
		rest = rest[length+2:]
	}
	return 1
}

// tiffOrientation finds tag 0x112 in the first directory of a TIFF header.
func tiffOrientation(t []byte) int {
	if len(t) < 8 {
		return 1
	}
	var order binary.ByteOrder = binary.LittleEndian
	if t[0] == 'M' {
		order = binary.BigEndian
	}
	at := int64(order.Uint32(t[4:]))
	if at+2 > int64(len(t)) {
		return 1
	}
	dir := t[at:]
	for n := order.Uint16(dir); n > 0; n-- {
		if dir = dir[2:]; len(dir) < 12 {
			return 1
		}
		if order.Uint16(dir) == 0x112 {
			if o := int(order.Uint16(dir[8:])); o >= 1 && o <= 8 {
				return o
			}
			return 1
		}
		dir = dir[10:] // with the two above, an entry
	}
	return 1
}

package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/knit-dev/knit/functions/api/emission"
)

// textLine is a line of the input, or why there is none.
type textLine struct {
	number int
	text   []byte
	err    error // errTooLarge is of this line only; after another there are no more
}

// readLines hands out the lines of in that are not empty, one at a time, until
// ctx ends. It reads aside, because a read of a terminal or a pipe cannot be
// interrupted. The last line comes with io.EOF and no text.
func readLines(ctx context.Context, in io.Reader) <-chan textLine {
	lines := make(chan textLine)
	go func() {
		reader := bufio.NewReaderSize(in, 64<<10)
		for number := 1; ; number++ {
			text, err := boundedLine(reader)
			if err == nil && len(text) == 0 {
				continue
			}
			select {
			case <-ctx.Done():
				return
			case lines <- textLine{number, text, err}:
			}
			if err != nil && !errors.Is(err, errTooLarge) {
				return
			}
		}
	}()
	return lines
}

// boundedLine reads a line without its end. Of one that is too large it keeps
// nothing, however long it is.
func boundedLine(reader *bufio.Reader) ([]byte, error) {
	var line []byte
	large := false
	for {
		part, err := reader.ReadSlice('\n')
		if large = large || len(line)+len(part) > emission.MaxBody; large {
			line = nil
		} else {
			line = append(line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil && !errors.Is(err, io.EOF):
			return nil, err
		case large:
			return nil, errTooLarge
		case err != nil && len(bytes.TrimSpace(line)) == 0:
			return nil, io.EOF
		}
		return bytes.TrimSpace(line), nil
	}
}

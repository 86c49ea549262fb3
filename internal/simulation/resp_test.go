package simulation

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
)

// readCommand reads one command as its bytes and the first of its words, at most most.
func readCommand(r *bufio.Reader, most int) (raw []byte, words []string, err error) {
	var buf bytes.Buffer
	n, err := readCount(r, &buf, '*')
	for i := 0; err == nil && i < n; i++ {
		size, err := readCount(r, &buf, '$')
		if err != nil {
			return nil, nil, err
		}
		start := buf.Len()
		if _, err := io.CopyN(&buf, r, int64(size+2)); err != nil {
			return nil, nil, err
		}
		if i < most {
			words = append(words, string(buf.Bytes()[start:start+size]))
		}
	}
	return buf.Bytes(), words, err
}

func readCount(r *bufio.Reader, into *bytes.Buffer, kind byte) (int, error) {
	line, err := r.ReadBytes('\n')
	if err != nil {
		return 0, err
	}
	into.Write(line)
	if line[0] != kind {
		return 0, fmt.Errorf("not a command: %q", line)
	}
	return strconv.Atoi(string(bytes.TrimSpace(line[1:])))
}

// readReply reads the bytes of one reply.
func readReply(r *bufio.Reader) ([]byte, error) {
	var buf bytes.Buffer
	err := copyReply(r, &buf)
	return buf.Bytes(), err
}

func copyReply(r *bufio.Reader, into *bytes.Buffer) error {
	line, err := r.ReadBytes('\n')
	if err != nil {
		return err
	}
	into.Write(line)
	n := 0
	switch line[0] {
	case '$', '=', '!', '*', '~', '>', '%', '|':
		if n, err = strconv.Atoi(string(bytes.TrimSpace(line[1:]))); err != nil {
			return err
		}
	}
	switch line[0] {
	case '$', '=', '!':
		if n >= 0 {
			_, err = io.CopyN(into, r, int64(n+2))
		}
		return err
	case '%':
		n *= 2
	case '|': // attributes of the reply that follows
		n = 2*n + 1
	}
	for range n {
		if err := copyReply(r, into); err != nil {
			return err
		}
	}
	return nil
}

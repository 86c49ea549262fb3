package history

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// AppendRow adds a run to the table of figures, a file in Markdown that the first row begins with its head: the test's name,
// the faults that were injected, the figures. One process writes to a file at a time.
func AppendRow(path, test, faults string, f Figures) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("table of figures: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("table of figures: %w", err)
	}
	text := line(slices.Concat([]string{"test", "faults"}, Columns())) +
		line(slices.Concat([]string{"---", "---"}, slices.Repeat([]string{"--:"}, len(Columns()))))
	if info.Size() > 0 {
		text = ""
	}
	text += line(slices.Concat([]string{test, faults}, f.Cells()))
	if _, err := file.WriteString(text); err != nil {
		return fmt.Errorf("table of figures: %w", err)
	}
	return nil
}

func line(cells []string) string {
	for i, cell := range cells {
		cells[i] = strings.ReplaceAll(strings.ReplaceAll(cell, "\n", " "), "|", `\|`)
	}
	return "| " + strings.Join(cells, " | ") + " |\n"
}

package listing

import (
	"io/fs"
	"strings"
)

// role is what a column or field tells of its row.
type role uint8

const (
	noRole role = iota
	nameRole
	sizeRole
	timeRole
	typeRole
	modeRole
	idleRole // a description, a count of links: nothing here
)

// headerWords are what headers of columns hold, in the languages that servers are translated into most. Of several the first line
// counts: "Date created" is no time of change, "File size" no name.
var headerWords = [...]struct {
	role  role
	words []string
}{
	{idleRole, []string{"creat", "accessed", "added"}},
	{timeRole, []string{"modified", "modification", "last change", "date", "mtime", "modifié", "geändert", "datum", "修改", "日期", "时间", "дата",
		"fecha", "changed", "uploaded", "updated", "time"}},
	{sizeRole, []string{"size", "length", "bytes", "größe", "taille", "大小", "размер", "tamaño", "サイズ"}},
	{idleRole, []string{"descr", "comment", "encoding", "owner", "user", "group", "hash", "download", "hits"}},
	{typeRole, []string{"type", "kind"}},
	{modeRole, []string{"mode", "perm", "access"}},
	{nameRole, []string{"name", "file", "文件", "имя", "nom", "nombre", "datei"}},
}

// A headerWord is a word of the headerWords and its line there.
type headerWord struct {
	word string
	line int
}

// headerStarts has the headerWords by their first byte: a page of prose offers every word of its tables and lines for a header, and
// to look for each of sixty words in each of them took most of the time of refusing it.
var headerStarts = func() (starts [256][]headerWord) {
	for i, line := range headerWords {
		for _, w := range line.words {
			starts[w[0]] = append(starts[w[0]], headerWord{w, i})
		}
	}
	return starts
}()

// maxHeader bounds the header of a column, in bytes.
const maxHeader = 60

// roleOfHeader says what the column below a header is.
func roleOfHeader(text string) role {
	if len(text) > maxHeader {
		return noRole
	}
	text = strings.ToLower(text)
	best := len(headerWords)
	for i := range len(text) {
		for _, w := range headerStarts[text[i]] {
			if w.line < best && strings.HasPrefix(text[i:], w.word) {
				best = w.line
			}
		}
	}
	if best == len(headerWords) {
		return noRole
	}
	return headerWords[best].role
}

// roleOfClass says what a field is by the class or id of its element.
func roleOfClass(class string) role {
	for _, c := range strings.Fields(strings.ToLower(class)) {
		switch c {
		case "n", "link":
			return nameRole
		case "s":
			return sizeRole
		case "m":
			return timeRole
		case "t":
			return typeRole
		}
		switch {
		case strings.Contains(c, "size"), c == "fb-s":
			return sizeRole
		case strings.Contains(c, "date"), strings.Contains(c, "mtime"), strings.Contains(c, "modif"), strings.Contains(c, "lastmod"),
			c == "time", c == "fb-d", c == "last-changed":
			return timeRole
		case strings.Contains(c, "descr"), c == "desc", c == "indexcoldesc":
			return idleRole
		case strings.HasSuffix(c, "name"), c == "fb-n":
			return nameRole
		case c == "type", c == "file-type", c == "mime":
			return typeRole
		case strings.Contains(c, "perm"), c == "mode":
			return modeRole
		}
	}
	return noRole
}

// hints are what marks a row's name as a directory's or a file's besides its href.
type hints uint16

const (
	dirHint  hints = 1 << iota // a word or an icon says directory
	fileHint                   // a word or an icon says file
	linkHint                   // a mark says symbolic link
	softDir                    // a class says directory, as some do of every row
	upHint                     // an icon says that this is the way up
)

// hintOfWord takes the text of a type column or a mark like "<DIR>".
func hintOfWord(text string) hints {
	text = strings.ToLower(strings.Trim(text, " \t<>[]()-"))
	switch text {
	case "dir", "directory", "folder", "file folder", "inode/directory", "httpd/unix-directory", "répertoire", "verzeichnis", "ordner",
		"目录", "文件夹", "каталог", "carpeta", "📁", "📂", "🗀", "d":
		return dirHint
	case "file", "📄", "regular file", "regular":
		return fileHint
	case "symlink", "link", "symbolic link":
		return linkHint
	}
	if major, minor, ok := strings.Cut(text, "/"); ok && len(text) < 100 && mediaTypes[major] && !strings.ContainsAny(minor, " /") {
		return fileHint
	}
	return 0
}

var mediaTypes = map[string]bool{"application": true, "text": true, "image": true, "audio": true, "video": true, "font": true,
	"message": true, "model": true, "multipart": true, "chemical": true, "x-content": true}

// hintOfAlt takes an icon's text, as in Apache's "[DIR]", "[TXT]", "[   ]".
func hintOfAlt(alt string) hints {
	lower := strings.ToLower(alt)
	switch {
	case lower == "":
		return 0
	case strings.Contains(lower, "parent"):
		return upHint
	case hintOfWord(alt) != 0:
		return hintOfWord(alt)
	case len(alt) == 5 && alt[0] == '[' && alt[4] == ']' && lower != "[ico]":
		return fileHint
	}
	return 0
}

// hintOfIcon takes an icon's address: "/icons/folder.gif", "#folder-shortcut".
func hintOfIcon(src string) hints {
	if src == "" {
		return 0
	}
	base := strings.ToLower(src[strings.LastIndexAny(src, "/#")+1:])
	switch {
	case strings.Contains(base, "parent"), strings.HasPrefix(base, "back."), strings.Contains(base, "goup"), strings.HasPrefix(base, "up."):
		return upHint
	case strings.HasPrefix(base, "folder-shortcut"):
		return dirHint | linkHint
	case strings.HasPrefix(base, "folder"), strings.HasPrefix(base, "dir."), strings.HasPrefix(base, "directory"),
		strings.HasPrefix(base, "icon-folder"), strings.HasPrefix(base, "icon-dir"):
		return dirHint
	case strings.HasPrefix(base, "file-shortcut"):
		return fileHint | linkHint
	}
	return 0
}

// hintOfClass takes the class of a row or, where icon says so, of what stands in it.
func hintOfClass(class string, icon bool) hints {
	if class == "" {
		return 0
	}
	for _, c := range strings.Fields(strings.ToLower(class)) {
		parts := strings.FieldsFunc(c, func(r rune) bool { return r == '-' || r == '_' })
		for i, part := range parts {
			switch part {
			case "dir", "directory", "folder", "isdir", "folders":
			case "d":
				if len(parts) > 1 {
					continue
				}
			default:
				continue
			}
			if icon || i == len(parts)-1 {
				return softDir
			}
		}
	}
	return 0
}

// readMode takes "drwxr-xr-x" with or without parentheses around it.
func readMode(s string) (fs.FileMode, bool) {
	s = strings.Trim(s, "()")
	if len(s) == 11 && strings.IndexByte("+.@", s[10]) >= 0 {
		s = s[:10]
	}
	if len(s) != 10 || strings.IndexByte("-dlbcpsD", s[0]) < 0 {
		return 0, false
	}
	mode, ok := permissions(s[1:])
	if !ok {
		return 0, false
	}
	switch s[0] {
	case 'd':
		mode |= fs.ModeDir
	case 'l':
		mode |= fs.ModeSymlink
	case 'b':
		mode |= fs.ModeDevice
	case 'c':
		mode |= fs.ModeDevice | fs.ModeCharDevice
	case 'p':
		mode |= fs.ModeNamedPipe
	case 's':
		mode |= fs.ModeSocket
	}
	return mode, true
}

package iso

import "encoding/binary"

const (
	sectorSize = 512
	// mbrTable is where the four entries of a master boot record are.
	mbrTable = 446
	// mbrProtective is the type of the one entry that stands for a GPT.
	mbrProtective = 0xee
	maxGPTEntries = 256
	gptEntry      = 128
)

// partition is what a stick with the image on it is divided into.
type partition struct {
	start, end int64
	// entry is where in the image its entry of the master boot record is; 0 for one of a GPT.
	entry int64
}

// readPartitions reads the tables of a hybrid image. One without them, a mere disc, has none.
func (i *Image) readPartitions() ([]partition, error) {
	record, err := i.read(0, sectorSize)
	if err != nil {
		return nil, err
	}
	if record[510] != 0x55 || record[511] != 0xaa {
		return nil, nil
	}
	var all []partition
	protective := false
	for n := range 4 {
		at := mbrTable + 16*n
		entry := record[at : at+16]
		start, count := binary.LittleEndian.Uint32(entry[8:]), binary.LittleEndian.Uint32(entry[12:])
		switch {
		case entry[4] == mbrProtective:
			protective = true
		case entry[4] != 0 || count != 0:
			all = append(all, partition{start: int64(start) * sectorSize, end: (int64(start) + int64(count)) * sectorSize, entry: int64(at)})
		}
	}
	if !protective {
		return all, nil
	}
	inGPT, err := i.readGPT()
	return append(all, inGPT...), err
}

func (i *Image) readGPT() ([]partition, error) {
	header, err := i.read(sectorSize, sectorSize)
	if err != nil || string(header[:8]) != "EFI PART" {
		return nil, err
	}
	at, count, size := binary.LittleEndian.Uint64(header[72:]), binary.LittleEndian.Uint32(header[80:]), binary.LittleEndian.Uint32(header[84:])
	if count > maxGPTEntries || size != gptEntry || at > systemBlocks*blockSize/sectorSize {
		return nil, nil // Not one that we know our way in; what is in it stays as it is.
	}
	table, err := i.read(int64(at)*sectorSize, int64(count)*gptEntry)
	if err != nil {
		return nil, err
	}
	var all []partition
	for n := range int(count) {
		entry := table[n*gptEntry:]
		first, last := binary.LittleEndian.Uint64(entry[32:]), binary.LittleEndian.Uint64(entry[40:])
		if last == 0 || first > last || int64(last) < 0 || int64(last) > i.size/sectorSize {
			continue
		}
		all = append(all, partition{start: int64(first) * sectorSize, end: (int64(last) + 1) * sectorSize})
	}
	return all, nil
}

// growPartition makes the partition that is the whole image, but for its first sector maybe, reach to its new end, so that
// what stands there can be read through the partition too. Only that one, and only where no other begins behind it: firmware refuses overlaps.
func (i *Image) growPartition(size int64) []patch {
	for _, whole := range i.partitions {
		if whole.entry == 0 || whole.start > sectorSize || whole.end >= size || size/sectorSize > 1<<32-1 {
			continue
		}
		free := true
		for _, other := range i.partitions {
			free = free && other.start < whole.end
		}
		if free {
			return []patch{{offset: whole.entry + 12, data: binary.LittleEndian.AppendUint32(nil, uint32((size-whole.start)/sectorSize))}}
		}
	}
	return nil
}

// Published sets as they lie when unpacked.

#include <algorithm>
#include <set>
#include <sstream>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"
#include "modalities/audio/list.h"
#include "modalities/audio/sound_dataset.h"

namespace thaw::audio {

namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t kMaxListFile = std::uint64_t{1} << 30;

const Option kCaptionBytes{"caption_bytes", std::int64_t{256}, "of a caption at most", 1, 1e6};

std::string without_return(std::string line) {
  if (!line.empty() && line.back() == '\r') line.pop_back();
  return line;
}

// Names in a list, one a line, each of which must be among the sounds; none where there is no list.
std::set<std::string> names_in(const fs::path& list, const std::set<std::string>& known) {
  std::set<std::string> names;
  if (!fs::exists(list)) return names;
  std::istringstream lines(read_file(list, kMaxListFile));
  std::int64_t number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    line = without_return(line);
    if (line.empty()) continue;
    if (!known.contains(line))
      throw DataError(concat(list.string(), ":", number, ": \"", line, "\" is none of the sounds"));
    names.insert(line);
  }
  return names;
}

DatasetPtr make_speech_commands(const Settings& settings) {
  const fs::path folder = settings.text("path");
  const std::vector<std::string>& words = settings.texts("words");
  SoundSet set;
  set.has_labels = true;
  std::set<std::string> known, heard;
  for (const fs::path& path : sounds_in(folder)) {
    const std::string word = path.parent_path().filename().string();
    if (word == "_background_noise_" || path.parent_path() == folder) continue;
    SoundItem item{.path = path, .key = path.lexically_relative(folder).generic_string(), .label = word};
    item.speaker = prefix_of(path, settings.text("separator"));
    known.insert(item.key);
    heard.insert(word);
    if (words.empty() || std::ranges::find(words, word) != words.end()) set.items.push_back(std::move(item));
  }
  for (const std::string& word : words)
    if (!heard.contains(word))
      settings.fail("words", concat("nobody says \"", word, "\" in ", folder.string(), "; its words: ",
                                    join(std::vector<std::string>(heard.begin(), heard.end()), ", "), "."));
  const fs::path test_list = folder / "testing_list.txt", validation_list = folder / "validation_list.txt";
  const std::set<std::string> test = names_in(test_list, known), validation = names_in(validation_list, known);
  if (!test.empty() || !validation.empty())
    for (SoundItem& item : set.items)
      item.side = test.contains(item.key)         ? Side::kTest
                  : validation.contains(item.key) ? Side::kValidation
                                                  : Side::kTrain;
  for (const fs::path& list : {test_list, validation_list})
    if (fs::exists(list)) set.files.push_back(list);
  return make_sound_dataset(std::move(set), settings);
}

// "p225_001_mic1" is text "p225_001" of speaker "p225".
DatasetPtr make_vctk(const Settings& settings) {
  const fs::path root = settings.text("path");
  const std::string &told = settings.text("told"), suffix = concat("_mic", settings.integer("microphone"));
  const fs::path trimmed = root / "wav48_silence_trimmed";
  const fs::path folder = fs::is_directory(trimmed) ? trimmed : root / "wav48";
  if (!fs::is_directory(folder))
    throw DataError(concat(root.string(), ": holds neither wav48_silence_trimmed nor wav48."));
  SoundSet set;
  set.has_labels = told != "caption";
  if (told != "label") set.caption_bytes = settings.integer("caption_bytes");
  for (const fs::path& path : sounds_in(folder)) {
    std::string name = path.stem().string();
    if (const std::size_t mic = name.find("_mic"); mic != std::string::npos) {
      if (name.substr(mic) != suffix) continue;
      name.resize(mic);
    }
    SoundItem item{.path = path, .key = path.lexically_relative(folder).generic_string()};
    item.label = item.speaker = path.parent_path().filename().string();
    item.caption_file = root / "txt" / item.speaker / (name + ".txt");
    if (set.caption_bytes == 0) item.caption_file.clear();
    if (set.caption_bytes == 0 || fs::exists(item.caption_file)) set.items.push_back(std::move(item));
  }
  if (set.items.empty()) throw DataError(concat(folder.string(), ": holds no sounds of ", suffix, " that are told."));
  return make_sound_dataset(std::move(set), settings);
}

std::vector<std::string> split_fields(const std::string& line) {
  std::vector<std::string> fields{""};
  for (const char c : line) {
    if (c == '|')
      fields.emplace_back();
    else
      fields.back() += c;
  }
  return fields;
}

// Fields between bars, which no quotes protect.
DatasetPtr make_ljspeech(const Settings& settings) {
  const fs::path root = settings.text("path"), table = root / "metadata.csv";
  const bool wants_normalised = settings.text("text") == "normalised";
  SoundSet set;
  set.caption_bytes = settings.integer("caption_bytes");
  set.files = {table};
  std::istringstream lines(read_file(table, kMaxListFile));
  std::int64_t number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    line = without_return(line);
    if (line.empty()) continue;
    const std::vector<std::string> fields = split_fields(line);
    const std::string where = concat(table.string(), ":", number);
    if (fields.size() < 2 || fields.size() > 3 || fields[0].empty() || fields[0].find("..") != std::string::npos)
      throw DataError(concat(where, ": expected \"name|text|normalised text\", found ", fields.size(), " fields"));
    SoundItem item{.path = root / "wavs" / (fields[0] + ".wav"), .key = fields[0], .where = where};
    item.caption = wants_normalised && fields.size() == 3 && !fields[2].empty() ? fields[2] : fields[1];
    set.items.push_back(std::move(item));
  }
  if (set.items.empty()) throw DataError(concat(table.string(), ": names no sounds."));
  return make_sound_dataset(std::move(set), settings);
}

void register_speech_commands(DatasetRegistry& registry) {
  registry.add({{"speech_commands",
                 "Single words; the class is the folder a sound lies in, testing_list.txt and validation_list.txt "
                 "make the splits.",
                 "Warden 2018, Speech Commands, section 5; SC09: words zero to nine",
                 with_sound_options({{"path", std::string(), "folder of the words", 0, 0, {}, true},
                                     {"words", std::vector<std::string>{}, "only these; empty: all"}}),
                 {}},
                make_speech_commands});
}

}  // namespace

void register_sound_layouts(DatasetRegistry& registry) {
  register_speech_commands(registry);
  registry.add(
      {{"vctk",
        "Sentences by many speakers, who are the classes; texts lie beside, sounds without one are left out "
        "where it is told.",
        "Yamagishi et al., CSTR VCTK corpus 0.92 (and 0.80)",
        with_sound_options(
            {{"path", std::string(), "folder that holds wav48_silence_trimmed and txt", 0, 0, {}, true},
             {"told", std::string("both"), "of a sound: its speaker, its text", 0, 0, {"both", "label", "caption"}},
             {"microphone", std::int64_t{1}, "of the two", 1, 2},
             kCaptionBytes}),
        {}},
       make_vctk});
  registry.add({{"ljspeech",
                 "Sentences by one speaker with their texts: wavs and metadata.csv.",
                 "Ito and Johnson 2017, The LJ Speech dataset",
                 with_sound_options(
                     {{"path", std::string(), "folder that holds metadata.csv", 0, 0, {}, true},
                      {"text", std::string("normalised"), "with numbers as words, or raw", 0, 0, {"normalised", "raw"}},
                      kCaptionBytes}),
                 {}},
                make_ljspeech});
}

}  // namespace thaw::audio

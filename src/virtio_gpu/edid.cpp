// SPDX-License-Identifier: Apache-2.0
#include "virtio_gpu/edid.h"

#include <algorithm>
#include <cstring>
#include <string_view>

namespace swede::virtio_gpu {
namespace {

// VESA E-EDID 1.4, section 3: offsets in the base block.
constexpr size_t kVendor = 8;
constexpr size_t kProduct = 10;
constexpr size_t kSerial = 12;
constexpr size_t kWeek = 16;
constexpr size_t kYear = 17;
constexpr size_t kVersion = 18;
constexpr size_t kInputs = 20;
constexpr size_t kSizeInCm = 21;
constexpr size_t kGamma = 23;
constexpr size_t kFeatures = 24;
constexpr size_t kChromaticity = 25;
constexpr size_t kStandardTimings = 38;
constexpr size_t kDescriptors = 54;
constexpr size_t kDescriptorSize = 18;
constexpr size_t kExtensions = 126;

constexpr uint32_t kRefresh = 60;           // Hz
constexpr uint32_t kMaxActive = 4095;       // px: 12 bits of a detailed timing
constexpr uint64_t kMaxClock = 65535;       // in 10 kHz: 16 bits of a detailed timing
constexpr uint64_t kMinClock = 1000;        // in 10 kHz: readers take less for an error
constexpr uint32_t kFallbackWidth = 1920;   // px, of the base block's timing when the native one
constexpr uint32_t kFallbackHeight = 1080;  // does not fit there
constexpr uint32_t kMinPanel = 100;         // mm
constexpr uint32_t kMaxPanel = 2550;        // mm

constexpr std::string_view kVendorText = "SWE";
constexpr std::string_view kNameText = "Swede";
constexpr uint8_t kProductCode = 1;
constexpr uint32_t kModelYear = 2026;

/// A mode with VESA CVT 1.2's reduced blanking (version 1).
struct Timing {
    uint32_t width;           // px
    uint32_t height;          // px
    uint32_t vertical_sync;   // lines
    uint32_t vertical_blank;  // lines
    uint64_t clock;           // in 10 kHz

    static constexpr uint32_t kBlank = 160;               // px
    static constexpr uint32_t kFrontPorch = 48;           // px
    static constexpr uint32_t kSync = 32;                 // px
    static constexpr uint32_t kVerticalFrontPorch = 3;    // lines
    static constexpr uint32_t kMinVerticalBackPorch = 6;  // lines
    static constexpr uint64_t kMinVerticalBlank = 460;    // us
};

/// CVT 1.2, table 4: the sync's width says the aspect.
uint32_t vertical_sync_of(uint32_t width, uint32_t height) {
    const auto is = [&](uint32_t across, uint32_t down) {
        return uint64_t{width} * down == uint64_t{height} * across;
    };
    if (is(4, 3)) return 4;
    if (is(16, 9)) return 5;
    if (is(16, 10)) return 6;
    if (is(5, 4) || is(15, 9)) return 7;
    return 10;
}

Timing timing_of(uint32_t width, uint32_t height) {
    Timing timing{};
    timing.width = width;
    timing.height = height;
    timing.vertical_sync = vertical_sync_of(width, height);
    // A line lasts (1/60 s - 460 us) / height; count how many fill 460 us, in integers.
    const uint64_t active_us = 1'000'000 / kRefresh - Timing::kMinVerticalBlank;
    const auto lines = static_cast<uint32_t>(Timing::kMinVerticalBlank * height / active_us + 1);
    timing.vertical_blank = std::max(
        lines, Timing::kVerticalFrontPorch + timing.vertical_sync + Timing::kMinVerticalBackPorch);
    const uint64_t line = width + Timing::kBlank;  // px
    const uint64_t min_lines = kMinClock * 10'000 / (line * kRefresh) + 1;
    if (height + timing.vertical_blank < min_lines)
        timing.vertical_blank = static_cast<uint32_t>(min_lines) - height;
    timing.clock = line * (height + timing.vertical_blank) * kRefresh / 10'000;
    return timing;
}

/// At 96 dpi.
uint32_t millimetres(uint32_t pixels) {
    return pixels * 254 / 960;
}

bool fits_detailed_timing(const Timing& timing) {
    return timing.width <= kMaxActive && timing.height <= kMaxActive && timing.clock <= kMaxClock;
}

uint8_t low(uint64_t value) {
    return static_cast<uint8_t>(value & 0xff);
}

/// E-EDID 1.4, section 3.10.2.
void write_detailed_timing(std::span<uint8_t, kDescriptorSize> to, const Timing& timing,
                           uint32_t width_mm, uint32_t height_mm) {
    const auto high_nibbles = [](uint32_t a, uint32_t b) {
        return low((a >> 8 & 0xf) << 4 | (b >> 8 & 0xf));
    };
    to[0] = low(timing.clock);
    to[1] = low(timing.clock >> 8);
    to[2] = low(timing.width);
    to[3] = low(Timing::kBlank);
    to[4] = high_nibbles(timing.width, Timing::kBlank);
    to[5] = low(timing.height);
    to[6] = low(timing.vertical_blank);
    to[7] = high_nibbles(timing.height, timing.vertical_blank);
    to[8] = low(Timing::kFrontPorch);
    to[9] = low(Timing::kSync);
    to[10] = low(Timing::kVerticalFrontPorch << 4 | timing.vertical_sync);
    to[11] = 0;  // high bits of the four above
    to[12] = low(width_mm);
    to[13] = low(height_mm);
    to[14] = high_nibbles(width_mm, height_mm);
    to[15] = 0;  // no borders
    to[16] = 0;
    to[17] = 0x1a;  // digital separate sync, horizontal positive, vertical negative
}

/// E-EDID 1.4, section 3.10.3: a descriptor of up to 13 characters.
void write_text(std::span<uint8_t, kDescriptorSize> to, uint8_t tag, std::string_view text) {
    std::ranges::fill(to, uint8_t{0});
    to[3] = tag;
    const auto field = to.subspan<5>();
    std::ranges::fill(field, uint8_t{' '});
    std::ranges::copy(text, field.begin());
    if (text.size() < field.size()) field[text.size()] = '\n';
}

/// Makes the bytes add up to 0 modulo 256.
void write_checksum(std::span<uint8_t> block) {
    uint32_t sum = 0;
    for (const uint8_t byte : block.first(block.size() - 1)) sum += byte;
    block.back() = low(256 - sum % 256);
}

/// Data blocks of a DisplayID 1.3 section, one behind the other.
class DisplayIdBlocks {
  public:
    explicit DisplayIdBlocks(std::span<uint8_t> to) : to_(to) {}

    void begin(uint8_t tag, uint8_t size) {
        put(tag, 1);
        put(0, 1);  // revision
        put(size, 1);
    }
    void put(uint64_t value, size_t size) {
        for (size_t i = 0; i < size; ++i) to_[used_++] = low(value >> (8 * i));
    }
    void put(std::string_view text) {
        for (const char c : text) to_[used_++] = static_cast<uint8_t>(c);
    }
    [[nodiscard]] size_t used() const { return used_; }

  private:
    std::span<uint8_t> to_;
    size_t used_ = 0;  ///< bytes
};

/// DisplayID 1.3, section 4.4.1, as an EDID extension: one Type I detailed timing, and the blocks
/// that a section of a display must have.
void write_display_id(std::span<uint8_t, Edid::kBlockSize> block, const Timing& timing,
                      uint32_t width_mm, uint32_t height_mm, uint32_t scanout) {
    constexpr uint8_t kExtensionTag = 0x70;
    constexpr uint8_t kVersion13 = 0x13;
    constexpr uint8_t kStandaloneDisplay = 0x03;
    constexpr size_t kSection = 1;  // where it starts in the EDID block
    constexpr size_t kSectionHeader = 4;

    DisplayIdBlocks blocks(block.subspan(kSection + kSectionHeader));
    constexpr uint8_t kProductIdentification = 0x00;
    blocks.begin(kProductIdentification, 12 + kNameText.size());
    blocks.put(kVendorText);
    blocks.put(kProductCode, 2);
    blocks.put(scanout + 1, 4);
    blocks.put(0xff, 1);  // the year is a model year
    blocks.put(kModelYear - 2000, 1);
    blocks.put(kNameText.size(), 1);
    blocks.put(kNameText);

    constexpr uint8_t kDisplayParameters = 0x01;
    blocks.begin(kDisplayParameters, 12);
    blocks.put(width_mm * 10, 2);
    blocks.put(height_mm * 10, 2);
    blocks.put(timing.width, 2);
    blocks.put(timing.height, 2);
    blocks.put(0, 1);    // no audio, no power management, fixed pixel format
    blocks.put(120, 1);  // gamma 2.2
    const uint32_t longer = std::max(timing.width, timing.height);
    const uint32_t shorter = std::min(timing.width, timing.height);
    blocks.put(std::min<uint64_t>(uint64_t{longer} * 100 / shorter - 100, 255), 1);  // aspect
    blocks.put(0x77, 1);  // 8 bits a colour, overall and native

    constexpr uint8_t kDetailedTimingOne = 0x03;
    constexpr uint8_t kPreferred = 0x80;
    constexpr uint8_t kAspectUndefined = 0x08;
    constexpr uint32_t kPositiveSync = 0x8000;
    blocks.begin(kDetailedTimingOne, 20);
    blocks.put(timing.clock - 1, 3);
    blocks.put(kPreferred | kAspectUndefined, 1);
    blocks.put(timing.width - 1, 2);
    blocks.put(Timing::kBlank - 1, 2);
    blocks.put((Timing::kFrontPorch - 1) | kPositiveSync, 2);
    blocks.put(Timing::kSync - 1, 2);
    blocks.put(timing.height - 1, 2);
    blocks.put(timing.vertical_blank - 1, 2);
    blocks.put(Timing::kVerticalFrontPorch - 1, 2);
    blocks.put(timing.vertical_sync - 1, 2);

    constexpr uint8_t kDisplayInterface = 0x0f;
    constexpr uint8_t kDisplayPort4Lanes = 0xa4;
    constexpr uint8_t kEightBits = 0x02;
    blocks.begin(kDisplayInterface, 10);
    blocks.put(kDisplayPort4Lanes, 1);
    blocks.put(0x11, 1);  // version 1.1
    blocks.put(kEightBits, 1);
    blocks.put(0, 7);  // no YCbCr, no content protection, no spread spectrum

    block[0] = kExtensionTag;
    block[kSection] = kVersion13;
    block[kSection + 1] = low(blocks.used());
    block[kSection + 2] = kStandaloneDisplay;
    block[kSection + 3] = 0;  // no more sections
    write_checksum(block.subspan(kSection, kSectionHeader + blocks.used() + 1));
    write_checksum(block);
}

}  // namespace

Edid make_edid(uint32_t scanout, uint32_t width, uint32_t height) {
    width = std::clamp<uint32_t>(width, 1, kMaxEdidSize);
    height = std::clamp<uint32_t>(height, 1, kMaxEdidSize);
    const Timing native = timing_of(width, height);
    const bool in_base = fits_detailed_timing(native);

    // Sizes that no panel has or that do not fit the byte of cm are said to be unknown.
    uint32_t width_mm = millimetres(width);
    uint32_t height_mm = millimetres(height);
    if (std::min(width_mm, height_mm) < kMinPanel || std::max(width_mm, height_mm) > kMaxPanel)
        width_mm = height_mm = 0;

    Edid edid;
    const std::span<uint8_t, Edid::kBlockSize> base(edid.blocks.data(), Edid::kBlockSize);
    constexpr std::array<uint8_t, 8> kMagic{0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00};
    std::ranges::copy(kMagic, base.begin());
    constexpr auto letter = [](char c) { return static_cast<uint16_t>(c - 'A' + 1); };
    constexpr uint16_t kVendorCode =
        letter(kVendorText[0]) << 10 | letter(kVendorText[1]) << 5 | letter(kVendorText[2]);
    base[kVendor] = low(kVendorCode >> 8);
    base[kVendor + 1] = low(kVendorCode);
    base[kProduct] = kProductCode;
    for (size_t i = 0; i < 4; ++i) base[kSerial + i] = low((scanout + 1) >> (8 * i));
    base[kWeek] = 0xff;  // the year is a model year
    base[kYear] = kModelYear - 1990;
    base[kVersion] = 1;
    base[kVersion + 1] = 4;
    base[kInputs] = 0xa5;  // digital, 8 bits a colour, DisplayPort
    base[kSizeInCm] = low((width_mm + 5) / 10);
    base[kSizeInCm + 1] = low((height_mm + 5) / 10);
    base[kGamma] = 120;                       // 2.2
    base[kFeatures] = in_base ? 0x06 : 0x04;  // sRGB; the first timing is the native one
    // The primaries and white point of sRGB, which the features claim (E-EDID 1.4, section 3.7).
    constexpr std::array<uint8_t, 10> kSrgb{0xee, 0x91, 0xa3, 0x54, 0x4c,
                                            0x99, 0x26, 0x0f, 0x50, 0x54};
    std::ranges::copy(kSrgb, base.begin() + kChromaticity);
    std::fill_n(base.begin() + kStandardTimings, 16, uint8_t{1});  // unused

    const auto descriptor = [&](size_t index) {
        return base.subspan(kDescriptors + index * kDescriptorSize).first<kDescriptorSize>();
    };
    write_detailed_timing(descriptor(0),
                          in_base ? native : timing_of(kFallbackWidth, kFallbackHeight), width_mm,
                          height_mm);
    constexpr uint8_t kName = 0xfc;
    constexpr uint8_t kSerialText = 0xff;
    constexpr uint8_t kDummy = 0x10;
    write_text(descriptor(1), kName, kNameText);
    std::array<char, 10> serial;
    std::ranges::copy(std::string_view("scanout 00"), serial.begin());
    serial[8] = static_cast<char>('0' + scanout / 10 % 10);
    serial[9] = static_cast<char>('0' + scanout % 10);
    write_text(descriptor(2), kSerialText, {serial.data(), serial.size()});
    std::ranges::fill(descriptor(3), uint8_t{0});
    descriptor(3)[3] = kDummy;

    edid.size = Edid::kBlockSize;
    if (!in_base) {
        base[kExtensions] = 1;
        write_display_id(std::span(edid.blocks).subspan<Edid::kBlockSize>(), native, width_mm,
                         height_mm, scanout);
        edid.size += Edid::kBlockSize;
    }
    write_checksum(base);
    return edid;
}

}  // namespace swede::virtio_gpu

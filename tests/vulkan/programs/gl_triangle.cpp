// SPDX-License-Identifier: Apache-2.0
// Draws two triangles by OpenGL ES 2.0 without any window system: one with a texture, the other
// half transparent and partly behind it; the lowest row comes first.
// gl_triangle [--size N] [--out FILE.ppm]
#include <EGL/egl.h>
#include <EGL/eglext.h>
#include <GLES2/gl2.h>

#include <fstream>
#include <set>

#include "vk_lab.h"

using namespace swede::lab;

namespace {

// One attribute array: position x, y, z, and a place in the texture.
constexpr std::array<float, 30> kVertices{
    -0.9F, -0.8F, 0.2F,  0, 0, 0.7F,  -0.9F, 0.2F,  3, 0, -0.1F, 0.9F,  0.2F, 1.5F, 3,
    -0.6F, 0.7F,  -0.4F, 0, 0, 0.95F, 0.8F,  -0.4F, 1, 0, 0.3F,  -0.7F, 0.8F, 0.5F, 1};

constexpr const char* kVertexShader = R"(
attribute vec3 position;
attribute vec2 place;
varying mediump vec2 where;
void main() {
    where = place;
    gl_Position = vec4(position, 1.0);
})";

constexpr const char* kFragmentShader = R"(
precision mediump float;
uniform sampler2D picture;
uniform float alpha;
varying mediump vec2 where;
void main() {
    gl_FragColor = vec4(texture2D(picture, where).rgb, alpha) + vec4(where * 0.1, 0.0, 0.0);
})";

void expect_no_error(std::string_view doing, Here here = Here::current()) {
    if (const GLenum error = glGetError(); error != GL_NO_ERROR)
        give_up(std::string(doing) + ": GL error " + std::to_string(error), here);
}

// A context that is current and has no surface: all drawing goes into objects.
class Context {
  public:
    Context() {
        // Mesa's platform without windows (EGL_MESA_platform_surfaceless).
        const auto get_display = reinterpret_cast<PFNEGLGETPLATFORMDISPLAYEXTPROC>(
            eglGetProcAddress("eglGetPlatformDisplayEXT"));
        expect(get_display != nullptr, "EGL has no platforms");
        display_ = get_display(EGL_PLATFORM_SURFACELESS_MESA, EGL_DEFAULT_DISPLAY, nullptr);
        expect(eglInitialize(display_, nullptr, nullptr) == EGL_TRUE, "EGL does not start");
        const std::array<EGLint, 5> wishes{EGL_SURFACE_TYPE, EGL_PBUFFER_BIT, EGL_RENDERABLE_TYPE,
                                           EGL_OPENGL_ES2_BIT, EGL_NONE};
        EGLConfig config = nullptr;
        EGLint count = 0;
        expect(
            eglChooseConfig(display_, wishes.data(), &config, 1, &count) == EGL_TRUE && count == 1,
            "EGL offers no configuration for OpenGL ES 2.0");
        expect(eglBindAPI(EGL_OPENGL_ES_API) == EGL_TRUE, "EGL has no OpenGL ES");
        const std::array<EGLint, 3> version{EGL_CONTEXT_CLIENT_VERSION, 2, EGL_NONE};
        context_ = eglCreateContext(display_, config, EGL_NO_CONTEXT, version.data());
        expect(context_ != EGL_NO_CONTEXT, "EGL makes no context");
        expect(eglMakeCurrent(display_, EGL_NO_SURFACE, EGL_NO_SURFACE, context_) == EGL_TRUE,
               "EGL needs a surface");
    }
    Context(const Context&) = delete;
    Context& operator=(const Context&) = delete;
    ~Context() {
        eglMakeCurrent(display_, EGL_NO_SURFACE, EGL_NO_SURFACE, EGL_NO_CONTEXT);
        eglDestroyContext(display_, context_);
        eglTerminate(display_);
    }

  private:
    EGLDisplay display_ = EGL_NO_DISPLAY;
    EGLContext context_ = EGL_NO_CONTEXT;
};

GLuint compile(GLenum kind, const char* source, Here here = Here::current()) {
    const GLuint shader = glCreateShader(kind);
    glShaderSource(shader, 1, &source, nullptr);
    glCompileShader(shader);
    GLint compiled = 0;
    glGetShaderiv(shader, GL_COMPILE_STATUS, &compiled);
    std::array<char, 1024> log{};
    glGetShaderInfoLog(shader, log.size() - 1, nullptr, log.data());
    expect(compiled == GL_TRUE, log.data(), here);
    return shader;
}

GLuint make_program() {
    const GLuint program = glCreateProgram();
    glAttachShader(program, compile(GL_VERTEX_SHADER, kVertexShader));
    glAttachShader(program, compile(GL_FRAGMENT_SHADER, kFragmentShader));
    glBindAttribLocation(program, 0, "position");
    glBindAttribLocation(program, 1, "place");
    glLinkProgram(program);
    GLint linked = 0;
    glGetProgramiv(program, GL_LINK_STATUS, &linked);
    expect(linked == GL_TRUE, "the shaders do not fit together");
    return program;
}

// Squares of 8 texels, each with a colour of its own, down to the smallest level.
void make_texture() {
    constexpr GLsizei kSide = 64;
    std::vector<uint8_t> texels(3ULL * kSide * kSide);
    for (size_t at = 0; at < texels.size() / 3; ++at) {
        const size_t column = at % kSide / 8;
        const size_t row = at / kSide / 8;
        texels[3 * at] = static_cast<uint8_t>(60 + 24 * column);
        texels[3 * at + 1] = static_cast<uint8_t>(60 + 24 * row);
        texels[3 * at + 2] = (column + row) % 2 == 0 ? 220 : 30;
    }
    GLuint texture = 0;
    glGenTextures(1, &texture);
    glBindTexture(GL_TEXTURE_2D, texture);
    glPixelStorei(GL_UNPACK_ALIGNMENT, 1);
    glTexImage2D(GL_TEXTURE_2D, 0, GL_RGB, kSide, kSide, 0, GL_RGB, GL_UNSIGNED_BYTE,
                 texels.data());
    glGenerateMipmap(GL_TEXTURE_2D);
    glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_MIN_FILTER, GL_LINEAR_MIPMAP_LINEAR);
    glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_MAG_FILTER, GL_LINEAR);
    expect_no_error("making a texture");
}

void make_framebuffer(GLsizei size) {
    GLuint colour = 0;
    glGenTextures(1, &colour);
    glActiveTexture(GL_TEXTURE1);
    glBindTexture(GL_TEXTURE_2D, colour);
    glTexImage2D(GL_TEXTURE_2D, 0, GL_RGBA, size, size, 0, GL_RGBA, GL_UNSIGNED_BYTE, nullptr);
    glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_MIN_FILTER, GL_NEAREST);
    glActiveTexture(GL_TEXTURE0);
    GLuint depth = 0;
    glGenRenderbuffers(1, &depth);
    glBindRenderbuffer(GL_RENDERBUFFER, depth);
    glRenderbufferStorage(GL_RENDERBUFFER, GL_DEPTH_COMPONENT16, size, size);
    GLuint framebuffer = 0;
    glGenFramebuffers(1, &framebuffer);
    glBindFramebuffer(GL_FRAMEBUFFER, framebuffer);
    glFramebufferTexture2D(GL_FRAMEBUFFER, GL_COLOR_ATTACHMENT0, GL_TEXTURE_2D, colour, 0);
    glFramebufferRenderbuffer(GL_FRAMEBUFFER, GL_DEPTH_ATTACHMENT, GL_RENDERBUFFER, depth);
    expect(glCheckFramebufferStatus(GL_FRAMEBUFFER) == GL_FRAMEBUFFER_COMPLETE,
           "the framebuffer is not complete");
}

void draw(GLsizei size) {
    const GLuint program = make_program();
    glUseProgram(program);
    GLuint buffer = 0;
    glGenBuffers(1, &buffer);
    glBindBuffer(GL_ARRAY_BUFFER, buffer);
    glBufferData(GL_ARRAY_BUFFER, sizeof(kVertices), kVertices.data(), GL_STATIC_DRAW);
    constexpr GLsizei kStride = 5 * sizeof(float);
    glVertexAttribPointer(0, 3, GL_FLOAT, GL_FALSE, kStride, nullptr);
    glVertexAttribPointer(1, 2, GL_FLOAT, GL_FALSE, kStride,
                          reinterpret_cast<const void*>(3 * sizeof(float)));  // an offset
    glEnableVertexAttribArray(0);
    glEnableVertexAttribArray(1);
    glViewport(0, 0, size, size);
    glClearColor(0.2F, 0.2F, 0.2F, 1);
    glClear(GL_COLOR_BUFFER_BIT | GL_DEPTH_BUFFER_BIT);
    glEnable(GL_DEPTH_TEST);
    const GLint alpha = glGetUniformLocation(program, "alpha");
    glUniform1f(alpha, 1);
    glDrawArrays(GL_TRIANGLES, 0, 3);
    glEnable(GL_BLEND);
    glBlendFunc(GL_SRC_ALPHA, GL_ONE_MINUS_SRC_ALPHA);
    glUniform1f(alpha, 0.5F);
    glDrawArrays(GL_TRIANGLES, 3, 3);
    expect_no_error("drawing");
}

// The Vulkan drivers in this process: two that draw alike may have the same name.
std::string vulkan_drivers() {
    std::ifstream maps("/proc/self/maps");
    std::set<std::string> names;
    for (std::string line; std::getline(maps, line);) {
        const size_t at = line.rfind('/');
        if (at != std::string::npos && line.substr(at + 1).starts_with("libvulkan_"))
            names.insert(line.substr(at + 1));
    }
    std::string text;
    for (const std::string& name : names) text += (text.empty() ? "" : " ") + name;
    return text;
}

}  // namespace

int main(int argc, char** argv) {
    const Options options(argc, argv);
    const auto size = static_cast<uint32_t>(options.number("size", 256));
    const auto side = static_cast<GLsizei>(size);
    const Context context;
    make_framebuffer(side);
    make_texture();
    draw(side);
    std::vector<uint8_t> rgba(4ULL * size * size);
    glReadPixels(0, 0, side, side, GL_RGBA, GL_UNSIGNED_BYTE, rgba.data());
    expect_no_error("reading pixels");
    expect(rgba[0] == 51 && rgba[1] == 51 && rgba[2] == 51, "the corner has not the clear colour");
    const uint8_t* middle = &rgba[4ULL * (size / 2 * size + size / 2)];
    expect(middle[0] != 51 || middle[1] != 51 || middle[2] != 51, "the middle is empty");
    const auto pixels = std::as_bytes(std::span(rgba));
    write_picture(options.text("out"), size, size, pixels);
    say({{"program", "gl_triangle"},
         {"size", size},
         {"renderer", reinterpret_cast<const char*>(glGetString(GL_RENDERER))},
         {"vulkan_drivers", vulkan_drivers()},
         {"hash", hash_of(pixels)}});
}
